"""One registry class for everything that is chosen by name: poolings, objectives, corpora, protocols.

A new entry is one new file in the registry's package, or in a folder or package of the user's
(:mod:`s3prl_emotion.plugins`); nothing else has to be edited.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from s3prl_emotion import plugins
from s3prl_emotion.errors import ConfigError, NameClashError, PluginError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects, filled on first look-up by importing every public module of a package, and every plugin.

    Args:
        kind: what is registered, in the singular, for messages (``"pooling"``)
        package: the package whose modules register their entries when imported; the last part of its name is the
            folder of plugins

    Example:
        >>> poolings: Registry = Registry("pooling", "s3prl_emotion.pooling")
        >>> "mean" in poolings.names()
        True
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._files: dict[str, str | None] = {}
        self._scanned: tuple[plugins.Root, ...] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters an object under ``name``.

        Raises:
            NameClashError: if another object holds the name
        """
        file = sys._getframe(1).f_globals.get("__file__")

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                both = f"{self._files[name] or repr(self._entries[name])} and {file or repr(entry)}"
                raise NameClashError(f"{self.kind} {name!r} is registered twice: {both}")
            self._entries[name] = entry
            self._files[name] = file
            return entry

        return enter

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        self._scan()
        return tuple(sorted(self._entries))

    def get(self, name: str, where: str = "") -> T:
        """The entry called ``name``.

        Args:
            name: a registered name
            where: what asks for it (a file and key), put in front of the error message

        Raises:
            ConfigError: if the name is unknown; the message suggests near ones
        """
        self._scan()
        if name not in self._entries:
            prefix = f"{where}: " if where else ""
            raise ConfigError(f"{prefix}unknown {self.kind} {name!r}. {suggest(name, self._entries)}")
        return self._entries[name]

    def file_of(self, name: str) -> str | None:
        """The file that registered an entry.

        Raises:
            ConfigError: if the name is unknown
        """
        self.get(name)
        return self._files[name]

    def build(self, name: str, options: Mapping[str, Any], where: str = "", **injected: Any) -> Any:
        """Call the entry ``name`` with ``options`` from a configuration and ``injected`` arguments from the program.

        Raises:
            ConfigError: if the name or an option is unknown, or the entry rejects a value with ``ValueError``
        """
        entry: Any = self.get(name, where)
        accepted = set(inspect.signature(entry).parameters) - set(injected)
        prefix = f"{where}: " if where else ""
        for option in options:
            if option not in accepted:
                raise ConfigError(
                    f"{prefix}unknown option {option!r} of {self.kind} {name!r}. {suggest(option, accepted)}"
                )
        try:
            return entry(**injected, **options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{prefix}{self.kind} {name!r}: {error}") from error

    def _scan(self) -> None:
        """Import what is not imported yet; plugins again where others are named by now, or one could not be used."""
        roots = plugins.roots()
        if self._scanned == roots:
            return
        if self._scanned is None:
            self._scanned = ()
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self.package}.{module.name}")
        for plugin in plugins.files(self.package.rpartition(".")[2]):
            entries, origins = dict(self._entries), dict(self._files)
            try:
                plugin.load()
            except PluginError:
                self._entries, self._files = entries, origins  # nothing of it, so that it is said again
                raise
        self._scanned = roots
