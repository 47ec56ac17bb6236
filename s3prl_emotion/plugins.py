"""Parts that a user brings along: found beside ours, without touching our files.

They lie in folders called as ours are (:data:`KINDS`): ``pooling/max.py``, ``downstream_configs/mine.yaml``, ... Such
folders are looked for in

- the folders that the environment variable ``S3PRL_EMOTION_PLUGINS`` names, with ``os.pathsep`` in between. Naming a
  folder is consenting to execute what lies there;
- installed packages that say so by an entry point of the group ``s3prl_emotion.plugins``, whose value is the package.

A file is executed when something of its kind is looked up for the first time, and not before.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s3prl_emotion.errors import EmotionError, PluginError, message_of

logger = logging.getLogger(__name__)

FOLDERS = "S3PRL_EMOTION_PLUGINS"
GROUP = "s3prl_emotion.plugins"
KINDS = (
    *("pooling", "objectives", "corpora", "protocols", "upstream_patches", "downstream_configs", "classical"),
    *("augmentation", "studies"),
)
_SHIPPED = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Root:
    """A folder with folders of plugins."""

    folder: Path
    package: str  # what its modules are imported below
    name: str  # for records: the package's, or the folder's own


@dataclass(frozen=True)
class Plugin:
    """One file."""

    root: Root
    kind: str
    path: Path

    @property
    def place(self) -> str:
        """Where it lies, for records: without the folders of this machine."""
        return f"{self.root.name}/{self.kind}/{self.path.name}"

    def load(self) -> types.ModuleType:
        """Execute the file, once.

        Raises:
            PluginError: naming it, whatever goes wrong in it
        """
        if self.root.package not in sys.modules and self.root.package.startswith(_PREFIX):
            package = types.ModuleType(self.root.package, f"The plugins in {self.root.folder}.")
            package.__path__ = [str(self.root.folder)]
            sys.modules[self.root.package] = package
        importlib.invalidate_caches()
        try:
            return importlib.import_module(f"{self.root.package}.{self.kind}.{self.path.stem}")
        except EmotionError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  (it is not our code)
            reason = message_of(error)
        except SystemExit as error:
            reason = f"it ends the program ({error.code})"
        raise PluginError(f"{self.path}: this plugin cannot be used: {reason}. Repair it, or take it away")


_PREFIX = "_s3prl_emotion_plugins_"


def roots() -> tuple[Root, ...]:
    """Where plugins are looked for: named folders first, then packages by their names.

    Raises:
        PluginError: if an entry point names no package
    """
    found = []
    for part in os.environ.get(FOLDERS, "").split(os.pathsep):
        if part:
            folder = Path(part).expanduser().absolute()
            if _is_usable(folder):
                digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
                found.append(Root(folder, _PREFIX + digest, folder.name))
    return (*dict.fromkeys(found), *_installed(tuple(sys.path)))


def files(kind: str, suffix: str = ".py") -> Iterator[Plugin]:
    """The plugins of one of :data:`KINDS`; files that begin with an underscore or a dot are helpers of theirs."""
    for root in roots():
        folder = root.folder / kind
        if folder.is_dir() and not _is_ours(folder):
            for path in sorted(folder.glob(f"*{suffix}")):
                if not path.name.startswith(("_", ".")):
                    yield Plugin(root, kind, path)


def plugin_of(file: str | Path | None) -> Plugin | None:
    """The plugin that a file is; None for what is ours or S3PRL's."""
    if file is None:
        return None
    path = Path(file)
    for root in roots():
        if path.parent.parent == root.folder and path.parent.name in KINDS and not _is_ours(path.parent):
            return Plugin(root, path.parent.name, path)
    return None


def blamed(error: BaseException) -> PluginError | None:
    """An error that names the plugin in which an exception arose; None where it arose in none.

    Args:
        error: what was raised; an error of ours counts as what it was raised from, unless it names the file itself
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if not isinstance(cause, EmotionError):
            for frame in reversed(traceback.extract_tb(cause.__traceback__)):
                if plugin_of(frame.filename) is not None:
                    return _failed(error, cause, frame)
        cause = cause.__cause__ or cause.__context__
    return None


def _failed(error: BaseException, cause: BaseException, frame: traceback.FrameSummary) -> PluginError | None:
    told = f"it ends the program ({cause.code})" if isinstance(cause, SystemExit) else ""
    told = told or (message_of(cause) if isinstance(cause, Exception) else repr(cause))
    if isinstance(error, EmotionError):
        if frame.filename in str(error):
            return None
        told = f"{error} ({told})"
    return PluginError(
        f"{frame.filename}: this plugin failed in line {frame.lineno}, {frame.name}: {told}. Repair it, or take it "
        "away; --verbose shows all of the traceback"
    )


def record(file: str | Path | None) -> dict[str, str] | None:
    """What identifies a plugin in a run's record: where it lies, and its SHA-256. None for what is no plugin."""
    plugin = plugin_of(file)
    if plugin is None:
        return None
    return {"file": plugin.place, "sha256": hashlib.sha256(plugin.path.read_bytes()).hexdigest()}


def _is_ours(folder: Path) -> bool:
    """A folder of ours, named as one of plugins."""
    ours = _SHIPPED / "s3prl_emotion"
    return folder.resolve().parent in (_SHIPPED, ours, ours / "downstream", ours / "audio")


@functools.cache
def _is_usable(folder: Path) -> bool:
    """Said once: what is named and holds nothing is a mistake."""
    if not folder.is_dir():
        logger.warning("%s names %s, which is no folder", FOLDERS, folder)
    elif not any((folder / kind).is_dir() for kind in KINDS):
        logger.warning("%s names %s, which has none of the folders %s", FOLDERS, folder, ", ".join(KINDS))
    return folder.is_dir()


@functools.lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> tuple[Root, ...]:
    """Packages with an entry point; ``path`` is where Python looks for packages, whose answer is kept."""
    found: dict[Root, None] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.value):
        told = f"the entry point {entry.name!r} of {GROUP!r}"
        told += f" of {entry.dist.metadata['Name']}" if entry.dist is not None else ""
        try:
            spec = importlib.util.find_spec(entry.value)
        except Exception as error:
            raise PluginError(f"{told}: {entry.value!r} cannot be found: {message_of(error)}") from error
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(
                f"{told} names {entry.value!r}, which is no package; expected one with some of the folders "
                f"{', '.join(KINDS)}. Install it again, or uninstall it"
            )
        for folder in spec.submodule_search_locations:
            found[Root(Path(folder).absolute(), entry.value, entry.value)] = None
    return tuple(found)
