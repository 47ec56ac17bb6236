"""Further columns of a user's table, named by the option ``attributes=sex,age``, as attributes of utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_emotion.corpora._rows import MAX_NUMBER, Texts, is_missing
from s3prl_emotion.errors import CorpusError, suggest


class AttributeColumns:
    """Reads the columns that are asked for, row by row.

    Args:
        given: their names, with commas or as a list; None asks for none
        table: the file, or the folder of lists, for messages
        own: columns that mean something else to the reader

    Raises:
        CorpusError: if a name is empty, there twice, or a column of the reader's own
    """

    def __init__(self, given: Sequence[str] | str | None, table: Path, own: Sequence[str]) -> None:
        parts = (given.split(",") if isinstance(given, str) else list(given)) if given is not None else []
        self.names = tuple(part.strip() for part in parts)
        self._table = table
        self._where = f"{table}: option attributes"
        self._filled: set[str] = set()
        self._others: dict[str, None] = {}  # in their order
        self._own = own
        if not all(self.names) or len(set(self.names)) < len(self.names):
            raise CorpusError(f"{self._where}: expected different names of columns with commas, found {given!r}")
        for name in self.names:
            if name in own:
                raise CorpusError(
                    f"{self._where}: {name!r} is a column with a meaning of its own, no attribute. Leave it out: "
                    "`evaluate --by label|speaker|session|corpus|fold|text` needs no attribute"
                )

    def of(self, row: Mapping[str, Any], where: str, texts: Texts) -> dict[str, str] | None:
        """The attributes of a row; a cell that is empty, or stands for a missing value, gives none.

        Raises:
            CorpusError: naming the column, if a cell of a JSON line is no text, number or truth value
        """
        if not self.names:
            return None
        self._others.update(dict.fromkeys(name for name in row if name not in self._own))
        found = {}
        for name in self.names:
            place = f"{where}, column {name!r}"
            value = row.get(name)
            if value is not None and (not isinstance(value, (str, int, float)) or _is_enormous(value)):
                raise CorpusError(f"{place}: expected a text or a number, found {str(value)[:60]!r}")
            text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value).strip()
            if (text := texts.name(text, place)) and not is_missing(text):
                found[name] = text
        self._filled.update(found)
        return found or None

    def check(self) -> None:
        """After the last row.

        Raises:
            CorpusError: if there is no such column, or none of its cells holds anything
        """
        for name in self.names:
            if name not in self._others:
                raise CorpusError(f"{self._where}: no column {name!r}. {suggest(name, self._others)}")
            if name not in self._filled:
                raise CorpusError(
                    f"{self._where}: column {name!r} holds nothing in any row. Fill it in, or leave it out"
                )


def _is_enormous(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > MAX_NUMBER
