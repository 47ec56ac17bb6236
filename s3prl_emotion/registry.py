"""One registry class for everything that is chosen by name: poolings, objectives, corpora, protocols.

A new entry is one new file in the registry's package; nothing else has to be edited.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from s3prl_emotion.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects, filled by importing every public module of a package on first look-up.

    Args:
        kind: what is registered, in the singular, for messages (``"pooling"``)
        package: the package whose modules register their entries when imported

    Example:
        >>> poolings: Registry = Registry("pooling", "s3prl_emotion.pooling")
        >>> "mean" in poolings.names()
        True
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters an object under ``name``.

        Raises:
            ValueError: if another object holds the name
        """

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ValueError(f"{self.kind} {name!r} is registered twice: {self._entries[name]!r} and {entry!r}")
            self._entries[name] = entry
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
            raise ConfigError(f"{prefix}unknown {self.kind} {name!r}. {nearest(name, self._entries)}")
        return self._entries[name]

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
                    f"{prefix}unknown option {option!r} of {self.kind} {name!r}. {nearest(option, accepted)}"
                )
        try:
            return entry(**injected, **options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{prefix}{self.kind} {name!r}: {error}") from error

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
