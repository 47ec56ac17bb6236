"""The columns of a user's table: which there are, and what they are called."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.errors import CorpusError, suggest

logger = logging.getLogger(__name__)

REQUIRED = ("path", "label", "speaker")
OPTIONAL = ("id", "fold", "session", "text", "start_s", "end_s", "source", "split")
COLUMNS = (*REQUIRED, *OPTIONAL)
SOFT = "soft:"
AUDFORMAT = {"path": "file", "start_s": "start", "end_s": "end"}
"""The index of audformat's tables (Wagner et al., audformat 1.3): read where a table has no ``path``."""


class Columns:
    """Finds what is meant by the columns of a table.

    Args:
        table: the file, for messages
        names: of the columns that are called otherwise, by what they mean
        required: what must be there

    Raises:
        CorpusError: if a name is empty
    """

    def __init__(self, table: Path, names: Mapping[str, str], required: Sequence[str]) -> None:
        self._table = table
        self._given = {meaning: name.strip() for meaning, name in names.items() if name.strip() != meaning}
        self._names = dict(self._given)
        self._checked = self._audformat = False
        self.required = required
        for meaning, name in self._given.items():
            if not name:
                raise CorpusError(f"{table}: option {meaning}: expected the name of a column, found nothing")

    @property
    def renamed(self) -> tuple[str, ...]:
        """Columns that have a meaning under another name."""
        return tuple(self._names.values())

    def check(self, found: Sequence[str], where: str, noticed: set[str]) -> None:
        """Refuse columns without those that are needed, and say which are not used.

        Args:
            found: the columns
            where: for messages
            noticed: columns of which nothing is to be said; filled
        """
        if not self._checked and "path" not in (*found, *self._names) and "file" in found:
            self._audformat = True
            logger.info("%s: no column 'path' but 'file': read as audformat's file, start and end", where)
        if self._audformat:
            aliases = {meaning: name for meaning, name in AUDFORMAT.items() if name in found and meaning not in found}
            self._names = {**aliases, **self._names}
        for meaning, name in self._given.items():
            if name not in found and (meaning in self.required or not self._checked):
                raise CorpusError(
                    f"{where}: no column {name!r}, which the option {meaning}={name} names. "
                    f"{suggest(name, [item for item in found if item])}"
                )
        self._checked = True
        for column in self.required:
            if column not in self._names and column not in found:
                hint = suggest(column, [item for item in found if item])
                raise CorpusError(
                    f"{where}: no column {column!r}. {hint} One of another name is named by "
                    f"--corpus-option {column}=NAME"
                )
        for column in found:
            used = column in COLUMNS and column not in self._names
            if used or column in self.renamed or column.startswith(SOFT) or column in noticed:
                continue
            noticed.add(column)
            free = [name for name in COLUMNS if name not in self._names]
            close = difflib.get_close_matches(column, free, n=1, cutoff=0.75)
            if close:
                logger.warning("%s: column %r is not used. Did you mean %r?", where, column, close[0])
            else:
                logger.info("%s: column %r is not used", where, column)

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The cells of a row by what they mean."""
        if not self._names:
            return dict(row)
        kept = {name: value for name, value in row.items() if name not in self._names}
        return {**kept, **{meaning: row.get(name) for meaning, name in self._names.items()}}
