"""Handles SIGINT and SIGTERM: the first one shuts down in order, the second one exits immediately."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def block_sigterm() -> None:
    """Hold SIGTERM back until a SignalHandler is entered: before that it would end the process at once."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


class Interrupted(KeyboardInterrupt):
    """Raised by a signal within `raise_on_signal`, around code that can't be stopped otherwise, such as imports."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class SignalHandler:
    """Handles both signals while it is entered, in the main thread. `received` is the first one that arrived.

    A signal calls the function given to `call_on_signal`, or raises Interrupted within `raise_on_signal`; otherwise it
    is only recorded.
    """

    def __init__(self, echo: Callable[[str], None], *, raises: bool = False) -> None:
        self.received: int | None = None
        self._echo = echo
        self._callback: Callable[[], None] | None = None
        self._raises = raises
        self._previous_handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def exit_code(self) -> int:
        """The exit code of a process that a signal has ended, as shells expect it."""
        return 128 + (self.received or 0)

    def __enter__(self) -> SignalHandler:
        for number in _SIGNALS:
            self._previous_handlers[number] = signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.restore_handlers()
        self._previous_handlers.clear()

    @contextmanager
    def echo_with(self, echo: Callable[[str], None]) -> Iterator[SignalHandler]:
        """Print with another function what a signal does."""
        previous, self._echo = self._echo, echo
        try:
            yield self
        finally:
            self._echo = previous

    def restore_handlers(self) -> None:
        """Restore the handlers of both signals that were set before; a forked child does so too."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def call_on_signal(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback` at a signal; at once if one has arrived already."""
        previous = self._callback, self._raises
        self._callback, self._raises = callback, False
        try:
            if self.received is not None:
                callback()
            yield
        finally:
            self._callback, self._raises = previous

    @contextmanager
    def raise_on_signal(self, raises: bool = True) -> Iterator[None]:
        """Raise Interrupted at a signal; at once if one has arrived already. With False, raise nothing."""
        previous, self._raises = self._raises, raises
        try:
            if raises and self.received is not None:
                raise Interrupted(self.received)
            yield
        finally:
            self._raises = previous

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        if self._callback is not None:
            with suppress(OSError):
                self._echo("shutting down; press Ctrl-C again to exit immediately")
            self._callback()
        elif self._raises:
            raise Interrupted(number)
