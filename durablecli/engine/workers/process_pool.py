"""Processor-bound activities: spawned worker processes, JSON lines over pipes.

A worker that dies takes one activity with it, which runs again in another; the fifth death fails the activity.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from queue import SimpleQueue
from time import monotonic

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import Call, Outcome, failed
from durablecli.engine.workers.thread_pool import Key, Report, Work
from durablecli.engine.workers.worker_process import GRACE, Answer, Order, WorkerProcess
from durablecli.model.events import NULL
from durablecli.model.failures import Failure

DEATHS = 5
_AGAIN = 0.25
_PATIENCE = 120
_FOR_NOW = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that pass once something else has ended: no processes, file handles or memory left."""


class Workers:
    """Keeps up to `most` workers, each with a thread that feeds it and waits for its answers."""

    def __init__(self, most: int, report: Report, targets: Sequence[str], base: str, folder: str) -> None:
        self._most = most
        self._report = report
        self._targets = targets
        self._base = base
        self._folder = folder
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._feeders: list[threading.Thread] = []
        self._running: dict[Key, tuple[float, WorkerProcess]] = {}
        self._deaths: Counter[Key] = Counter()
        self._stopping = threading.Event()
        self._held_back = False

    def start(self, calls: Iterable[Work]) -> None:
        for call in calls:
            assert isinstance(call, Call), "no entity runs in a process of its own"
            self._calls.put(call)
            self.tend()

    def tend(self) -> None:
        """Start a feeder while calls wait, up to the limit."""
        if len(self._feeders) < self._most and not self._calls.empty():
            feeder = threading.Thread(target=self._feed, name=f"durable-worker-{len(self._feeders)}", daemon=True)
            if start_thread(feeder):
                self._feeders.append(feeder)

    def cancel(self, key: Key) -> None:
        """TERM first, KILL when that has no effect within two seconds."""
        running = self._running.get(key)
        if running is not None:
            running[1].terminate()

    def tell(self, key: Key) -> None:
        running = self._running.get(key)
        if running is not None:
            running[1].cancel()

    def hold_back(self) -> None:
        self._held_back = True
        for _, worker in list(self._running.values()):
            worker.cancel()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def most(self) -> int:
        return self._most

    @property
    def queued(self) -> int:
        return self._calls.qsize()

    def running(self) -> dict[Key, float]:
        return {key: since for key, (since, _) in list(self._running.items())}

    def stop(self) -> None:
        self._stopping.set()
        for _ in self._feeders:
            self._calls.put(None)
        for _, worker in list(self._running.values()):
            worker.kill()
        for feeder in self._feeders:
            feeder.join(GRACE)

    def _feed(self) -> None:
        worker: WorkerProcess | None = None
        while (call := self._calls.get()) is not None:
            if self._held_back:
                continue
            if call.cancellation.dropped:
                self._report(call.dropped())
                continue
            try:
                if worker is None or not worker.is_alive:
                    worker = self._replace(worker)
                answer = self._ask(worker, call) if worker is not None else None
            except Exception as error:  # noqa: BLE001 - a feeder that died would leave its call hanging for ever
                self._report(failed(call.key, error))
                continue
            if worker is None:
                continue  # the engine stops
            if answer is not None and not call.cancellation.dropped:
                call.cancellation.seen = answer.saw_cancelled
                self._report(Outcome(call.key, answer.result, answer.failure, answer.outputs))
                continue
            # One that is dying, or is about to be killed, must not be given the next order.
            code, worker = worker.end(), None
            if not self._stopping.is_set():
                self._died(call, code)
        if worker is not None:
            worker.dismiss()

    def _replace(self, dead: WorkerProcess | None) -> WorkerProcess | None:
        """A new worker in the place of one that died while it had nothing to do; None when the engine stops."""
        if dead is not None:
            dead.dismiss()
        tries = 0
        while not (self._held_back or self._stopping.is_set()):
            try:
                return WorkerProcess(self._targets, self._base, self._folder)
            except OSError as error:
                tries += 1
                if tries > _PATIENCE and error.errno not in _FOR_NOW:
                    raise
            self._stopping.wait(_AGAIN)
        return None

    def _ask(self, worker: WorkerProcess, call: Call) -> Answer | None:
        """Its answer; None when the worker died."""
        name, attempt, limit = call.function.name, call.attempt, call.payload_limit
        order = Order(name, call.key, call.input, attempt, call.redelivered, call.first, limit)
        self._running[call.key] = monotonic(), worker
        try:
            # Whoever cancelled it a moment ago may not have seen the worker yet.
            return None if call.cancellation.dropped else worker.ask(order)
        finally:
            del self._running[call.key]

    def _died(self, call: Call, code: int) -> None:
        if call.cancellation.dropped:
            self._report(Outcome(call.key, NULL, None))
            return
        self._deaths[call.key] += 1
        if self._deaths[call.key] < DEATHS:
            self._calls.put(call._replace(redelivered=True))
            return
        text = f"the worker process died {DEATHS} times while running it (exit code {code})"
        self._report(Outcome(call.key, None, Failure("durablecli.WorkerDied", text)))
