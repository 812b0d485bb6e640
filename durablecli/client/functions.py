"""The functions that an engine has published: what may be started is known without loading any code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from durablecli.errors import NotFound


class Known(msgspec.Struct, frozen=True):
    """One function, by name and kind."""

    name: str
    kind: str


class Published(msgspec.Struct, frozen=True):
    """What the engine had loaded when it last said so."""

    functions: tuple[Known, ...] = ()
    at: datetime | None = None

    def has_orchestrator(self, name: str) -> bool:
        """Names are compared without case."""
        return self._has(name, "orchestrator")

    def has_entity(self, name: str) -> bool:
        """The same for entity functions."""
        return self._has(name, "entity")

    def unknown(self, name: str) -> NotFound:
        """The error that names what could be started instead."""
        return unknown_orchestrator(name, self._names("orchestrator"))

    def unknown_entity(self, name: str) -> NotFound:
        """The error that names the entity functions that there are."""
        names = _listed(self._names("entity"))
        return NotFound(f"the function '{name}' doesn't exist, is disabled, or is no entity; known are: {names}")

    def _has(self, name: str, kind: str) -> bool:
        return any(known.casefold() == name.casefold() for known in self._names(kind))

    def _names(self, kind: str) -> list[str]:
        return [known.name for known in self.functions if known.kind == kind]


def unknown_orchestrator(name: str, known: Iterable[str]) -> NotFound:
    """The error of Durable Functions, with the known names."""
    names = _listed(known)
    return NotFound(f"the function '{name}' doesn't exist, is disabled, or is no orchestrator; known are: {names}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def parse_published(info: Mapping[str, object]) -> Published | None:
    """The list in what an engine wrote about itself; None where there is none."""
    try:
        return msgspec.convert(info, Published) if "functions" in info else None
    except msgspec.ValidationError:
        return None
