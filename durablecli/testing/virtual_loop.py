"""The event loop of a hub in memory: its time is that of the hub's clock, so whatever asyncio waits for in time
(`sleep`, `timeout`, `wait_for`, `call_later`) ends when that clock is moved.

A loop asks its selector to wait when nothing is ready. The selector here ends the run of the loop instead, and notes
when the next timer of the loop is due.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar, TypeVarTuple

from durablecli.engine.clock import VirtualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_RESOLUTION = 1e-9
"""A loop runs what is due within this time at once, in seconds."""
_THREAD_PREFIX = "durable-testing"
_STOP_REFUSED = "an activity may not stop the event loop that it shares with others; return or raise instead"


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop by a virtual clock. `run_ready` runs it as far as it gets at the present time."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._start = clock, clock.now()
        self._skipped = 0.0
        self._jobs = 0
        self._executor: Executor | None = None
        self._processes_started: list[asyncio.SubprocessTransport] = []
        self._yielding_selector = _YieldingSelector(self._end_run)
        super().__init__(self._yielding_selector)
        self._own_handles = len(self._yielding_selector.get_map())
        self._threads_before = frozenset(threading.enumerate())
        self.due_at: datetime | None = None
        """When its next timer is due; known after a run."""

    def __del__(self) -> None:
        """Close the loop. A hub that a test doesn't close is no reason for asyncio's warning."""
        if not self.is_closed():
            self.close()

    def time(self) -> float:
        """The seconds since the loop was made."""
        return (self._clock.now() - self._start).total_seconds() + self._skipped

    def run_ready(self, patience: float | None = 0.0) -> bool:
        """Run what can run at the present time; return whether something from outside the loop has arrived.

        If nothing can run, wait at most `patience` real seconds for the outside; None waits until something arrives.
        """
        selector = self._yielding_selector
        selector.patience, selector.has_heard = patience, False
        self.run_forever()
        wait = selector.next_timer_in
        self.due_at = None if wait is None else self._clock.time_after(wait)
        return selector.has_heard

    def run_to_end(self, work: Coroutine[Any, Any, object], limit: float) -> None:
        """Run a coroutine without regard to the hub's clock. It is given up after `limit` seconds, real or virtual."""
        task = self.create_task(work)
        until = self.time() + limit
        self.run_ready()
        while not task.done():
            wait = self._yielding_selector.next_timer_in
            if self.waits_outside:
                if not self.run_ready(limit):
                    return
            elif wait is None or self.time() + wait > until:
                return
            else:
                self._skipped += wait
                self.run_ready()

    def end(self) -> None:
        """Cancel all tasks, and close the loop. Tasks that don't end at that are dropped."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_ready()
            self.set_exception_handler(lambda loop, context: None)
        self.close()

    @property
    def has_jobs(self) -> bool:
        """Whether a function of `asyncio.to_thread`, or another one in an executor, runs."""
        return self._jobs > 0

    @property
    def waits_outside(self) -> bool:
        """Whether something may wake the loop that isn't its clock: an executor, a process, a socket, or a thread that
        was started since the loop was made."""
        self._processes_started = [each for each in self._processes_started if each.get_returncode() is None]
        if self._jobs or self._processes_started or len(self._yielding_selector.get_map()) > self._own_handles:
            return True
        started = (each for each in threading.enumerate() if each not in self._threads_before)
        return any(not each.name.startswith(_THREAD_PREFIX) for each in started)

    # ── asyncio's interface ──────────────────────────────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """Refuse to stop: all activities share the loop."""
        raise RuntimeError(_STOP_REFUSED)

    def _end_run(self) -> None:
        super().stop()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        if executor is None and self._executor is None:  # one whose threads are known by their names
            self.set_default_executor(ThreadPoolExecutor(thread_name_prefix=_THREAD_PREFIX))
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._end_job)
        return future

    def _end_job(self, _: object) -> None:
        self._jobs -= 1

    def set_default_executor(self, executor: Executor) -> None:
        self._executor = executor
        super().set_default_executor(executor)  # type: ignore[arg-type] # asyncio refuses another one itself

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        return self._add_process(await super().subprocess_exec(*args, **kwargs))

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        return self._add_process(await super().subprocess_shell(*args, **kwargs))

    def _add_process(self, made: tuple[asyncio.SubprocessTransport, object]) -> Any:
        self._processes_started.append(made[0])
        return made


class _YieldingSelector(selectors.DefaultSelector):
    """Waits at most once, for `patience` seconds; the next wait calls `on_idle`."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        super().__init__()
        self._on_idle = on_idle
        self.patience: float | None = 0.0
        self.has_heard = False
        self.next_timer_in: float | None = None
        """In how many seconds the next timer of the loop is due; asyncio asks for at most a day."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= _RESOLUTION:
            return super().select(0)
        events = super().select(self.patience)
        self.patience = 0.0
        self.has_heard = self.has_heard or bool(events)
        if not events:
            self.next_timer_in = timeout
            self._on_idle()
        return events
