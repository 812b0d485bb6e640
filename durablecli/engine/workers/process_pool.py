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
from durablecli.engine.workers.activity import ActivityCall, ActivityResult, to_failed_result
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.engine.workers.worker_process import TERMINATE_TIMEOUT, WorkerProcess, WorkerRequest, WorkerResponse
from durablecli.model.events import NULL
from durablecli.model.failures import Failure

MAX_CRASHES = 5
_START_RETRY_INTERVAL = 0.25
_MAX_START_RETRIES = 120
_TRANSIENT_ERRNOS = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that pass once something else has ended: no processes, file handles or memory left."""


class ProcessPool:
    """Keeps up to `most` workers, each with a thread that feeds it and waits for its answers."""

    def __init__(self, capacity: int, report: ReportResult, targets: Sequence[str], base: str, folder: str) -> None:
        self._capacity = capacity
        self._report = report
        self._targets = targets
        self._base = base
        self._folder = folder
        self._queue: SimpleQueue[ActivityCall | None] = SimpleQueue()
        self._feeders: list[threading.Thread] = []
        self._running: dict[WorkKey, tuple[float, WorkerProcess]] = {}
        self._crashes: Counter[WorkKey] = Counter()
        self._stopping = threading.Event()
        self._paused = False

    def start(self, calls: Iterable[WorkItem]) -> None:
        for call in calls:
            assert isinstance(call, ActivityCall), "no entity runs in a process of its own"
            self._queue.put(call)
            self.maintain()

    def maintain(self) -> None:
        """Start a feeder while calls wait, up to the limit."""
        if len(self._feeders) < self._capacity and not self._queue.empty():
            feeder = threading.Thread(target=self._feed, name=f"durable-worker-{len(self._feeders)}", daemon=True)
            if start_thread(feeder):
                self._feeders.append(feeder)

    def cancel(self, key: WorkKey) -> None:
        """TERM first, KILL when that has no effect within two seconds."""
        running = self._running.get(key)
        if running is not None:
            running[1].terminate()

    def notify_cancel(self, key: WorkKey) -> None:
        running = self._running.get(key)
        if running is not None:
            running[1].notify_cancel()

    def pause(self) -> None:
        self._paused = True
        for _, worker in list(self._running.values()):
            worker.notify_cancel()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def queue_length(self) -> int:
        return self._queue.qsize()

    def start_times(self) -> dict[WorkKey, float]:
        return {key: since for key, (since, _) in list(self._running.items())}

    def stop(self) -> None:
        self._stopping.set()
        for _ in self._feeders:
            self._queue.put(None)
        for _, worker in list(self._running.values()):
            worker.kill()
        for feeder in self._feeders:
            feeder.join(TERMINATE_TIMEOUT)

    def _feed(self) -> None:
        worker: WorkerProcess | None = None
        while (call := self._queue.get()) is not None:
            if self._paused:
                continue
            if call.cancellation.abandoned:
                self._report(call.make_cancelled_result())
                continue
            try:
                if worker is None or not worker.is_alive:
                    worker = self._replace_worker(worker)
                answer = self._request(worker, call) if worker is not None else None
            except Exception as error:  # noqa: BLE001 - a feeder that died would leave its call hanging for ever
                self._report(to_failed_result(call.key, error))
                continue
            if worker is None:
                continue  # the engine stops
            if answer is not None and not call.cancellation.abandoned:
                call.cancellation.observed = answer.saw_cancelled
                self._report(ActivityResult(call.key, answer.result, answer.failure, answer.outputs))
                continue
            # One that is dying, or is about to be killed, must not be given the next order.
            code, worker = worker.end_group(), None
            if not self._stopping.is_set():
                self._handle_crash(call, code)
        if worker is not None:
            worker.shut_down()

    def _replace_worker(self, dead: WorkerProcess | None) -> WorkerProcess | None:
        """A new worker in the place of one that died while it had nothing to do; None when the engine stops."""
        if dead is not None:
            dead.shut_down()
        tries = 0
        while not (self._paused or self._stopping.is_set()):
            try:
                return WorkerProcess(self._targets, self._base, self._folder)
            except OSError as error:
                tries += 1
                if tries > _MAX_START_RETRIES and error.errno not in _TRANSIENT_ERRNOS:
                    raise
            self._stopping.wait(_START_RETRY_INTERVAL)
        return None

    def _request(self, worker: WorkerProcess, call: ActivityCall) -> WorkerResponse | None:
        """Its answer; None when the worker died."""
        name, attempt, limit = call.function.name, call.attempt, call.payload_limit
        order = WorkerRequest(name, call.key, call.input, attempt, call.redelivered, call.first_attempt, limit)
        self._running[call.key] = monotonic(), worker
        try:
            # Whoever cancelled it a moment ago may not have seen the worker yet.
            return None if call.cancellation.abandoned else worker.request(order)
        finally:
            del self._running[call.key]

    def _handle_crash(self, call: ActivityCall, code: int) -> None:
        if call.cancellation.abandoned:
            self._report(ActivityResult(call.key, NULL, None))
            return
        self._crashes[call.key] += 1
        if self._crashes[call.key] < MAX_CRASHES:
            self._queue.put(call._replace(redelivered=True))
            return
        text = f"the worker process died {MAX_CRASHES} times while running it (exit code {code})"
        self._report(ActivityResult(call.key, None, Failure("durablecli.WorkerDied", text)))
