"""What an engine tells the readers in its own process, so that these needn't search the journal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from durablecli.store.journal.commits import HistoryWrite


class EndSignal(Protocol):
    """A `threading.Event`, or anything else that any thread may set without waiting."""

    def set(self) -> None:
        """Wake the client that waits."""
        ...


@runtime_checkable
class PublicationStatus(Protocol):
    """An engine in this process. Any thread may ask."""

    @property
    def is_running(self) -> bool:
        """Whether the engine hasn't stopped; afterwards the files alone count."""
        ...

    def is_on_its_way(self, instance: str) -> bool:
        """Return whether a commit that hasn't taken effect concerns an instance. Other processes may have seen it."""
        ...

    def list_unpublished(self, instance: str) -> list[HistoryWrite]:
        """Return what commits have written to a history and its file doesn't have yet. Call it before reading the
        file."""
        ...

    def watch_end(self, instance: str, signal: EndSignal) -> AbstractContextManager[bool]:
        """Have the signal set each time an execution of the instance ends; False if the engine has stopped."""
        ...
