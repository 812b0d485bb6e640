"""Tells threads of this process, as soon as it is on disk, that an execution has ended."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class EndWatchers:
    """The threads that wait for the end of an instance."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._events: dict[str, list[threading.Event]] = {}
        self._closed = False

    @contextmanager
    def watch(self, instance: str) -> Iterator[threading.Event | None]:
        """Yield an event that is set each time an execution of the instance ends; None after `close`."""
        event = threading.Event()
        with self._guard:
            if not self._closed:
                self._events.setdefault(instance, []).append(event)
        try:
            yield None if self._closed else event
        finally:
            with self._guard:
                events = self._events.get(instance, [])
                if event in events:
                    events.remove(event)
                if not events:
                    self._events.pop(instance, None)

    def notify(self, instances: Iterable[str]) -> None:
        """Set the events of these instances."""
        if self._events:
            with self._guard:
                for instance in instances:
                    for event in self._events.get(instance, ()):
                        event.set()

    def close(self) -> None:
        """Set all events, for the last time."""
        with self._guard:
            self._closed = True
            for events in self._events.values():
                for event in events:
                    event.set()
