"""SIGINT and SIGTERM: the first one stops what runs in an orderly way, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


def hold_back_sigterm() -> None:
    """Let SIGTERM wait until Signals is entered: before that it would end the process on the spot."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


class Interrupted(KeyboardInterrupt):
    """Raised by a signal where code runs that can't be told to stop, such as imports."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Signals:
    """Handles both signals while it is entered, in the main thread. `received` is the first of them, `say` is told.

    A signal calls what `stopping` names; raises Interrupted within `interrupting`; and else is only noted.
    """

    def __init__(self, say: Callable[[str], None], *, interrupts: bool = False) -> None:
        self.received: int | None = None
        self._say = say
        self._stop: Callable[[], None] | None = None
        self._interrupts = interrupts
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal has ended."""
        return 128 + (self.received or 0)

    def __enter__(self) -> Signals:
        for number in _NUMBERS:
            self._before[number] = signal.signal(number, self._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.restore()
        self._before.clear()

    def restore(self) -> None:
        """Give both signals back to what handled them before; a forked child does so for itself."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` at a signal; at once if there was one already."""
        before = self._stop, self._interrupts
        self._stop, self._interrupts = stop, False
        try:
            if self.received is not None:
                stop()
            yield
        finally:
            self._stop, self._interrupts = before

    @contextmanager
    def interrupting(self, interrupts: bool = True) -> Iterator[None]:
        """Whether a signal raises Interrupted here; it does at once if there was one already."""
        before, self._interrupts = self._interrupts, interrupts
        try:
            if interrupts and self.received is not None:
                raise Interrupted(self.received)
            yield
        finally:
            self._interrupts = before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        if self._stop is not None:
            with suppress(OSError):
                self._say("draining; once more ends at once")
            self._stop()
        elif self._interrupts:
            raise Interrupted(number)
