"""Wakes clients in this process when an execution has ended and its end is on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from durablecli.store.publication import EndSignal


class EndWatchers:
    """The signals of those that wait for the end of an instance."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._signals: dict[str, list[EndSignal]] = {}
        self._closed = False

    @contextmanager
    def watch(self, instance: str, signal: EndSignal) -> Iterator[bool]:
        """Set the signal each time an execution of the instance ends; yields False after `close`."""
        with self._guard:
            if not self._closed:
                self._signals.setdefault(instance, []).append(signal)
        try:
            yield not self._closed
        finally:
            with self._guard:
                signals = self._signals.get(instance, [])
                if signal in signals:
                    signals.remove(signal)
                if not signals:
                    self._signals.pop(instance, None)

    def notify(self, instances: Iterable[str]) -> None:
        """Set the signals of these instances."""
        if self._signals:
            with self._guard:
                for instance in instances:
                    for signal in self._signals.get(instance, ()):
                        signal.set()

    def close(self) -> None:
        """Set all signals, for the last time."""
        with self._guard:
            self._closed = True
            for signals in self._signals.values():
                for signal in signals:
                    signal.set()
