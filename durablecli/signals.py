"""SIGINT and SIGTERM: the first one stops what runs in an orderly way, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def block_sigterm() -> None:
    """Let SIGTERM wait until Signals is entered: before that it would end the process on the spot."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


class Interrupted(KeyboardInterrupt):
    """Raised by a signal where code runs that can't be told to stop, such as imports."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class SignalHandler:
    """Handles both signals while it is entered, in the main thread. `received` is the first of them, `say` is told.

    A signal calls what `stopping` names; raises Interrupted within `interrupting`; and else is only noted.
    """

    def __init__(self, echo: Callable[[str], None], *, raises: bool = False) -> None:
        self.received: int | None = None
        self._echo = echo
        self._callback: Callable[[], None] | None = None
        self._raises = raises
        self._previous_handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal has ended."""
        return 128 + (self.received or 0)

    def __enter__(self) -> SignalHandler:
        for number in _SIGNALS:
            self._previous_handlers[number] = signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.restore_handlers()
        self._previous_handlers.clear()

    def restore_handlers(self) -> None:
        """Give both signals back to what handled them before; a forked child does so for itself."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def call_on_signal(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `stop` at a signal; at once if there was one already."""
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
        """Whether a signal raises Interrupted here; it does at once if there was one already."""
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
                self._echo("draining; once more ends at once")
            self._callback()
        elif self._raises:
            raise Interrupted(number)
