"""Runs processor-bound activities in worker processes.

If a worker dies, its activity runs again in another one; the fifth crash fails the activity.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Iterable
from queue import SimpleQueue
from time import monotonic
from typing import NamedTuple

from msgspec.structs import replace

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import ActivityCall, ActivityResult, to_failed_result
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.call_queue import CallQueue
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.engine.workers.worker_process import TERMINATE_TIMEOUT, WorkerProcess, WorkerRequest, WorkerResponse
from durablecli.model.events import NULL
from durablecli.model.failures import Failure

MAX_CRASHES = 5
_START_RETRY_INTERVAL = 0.25
_MAX_START_RETRIES = 120
_TRANSIENT_ERRNOS = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that pass when something else ends: no processes, file handles or memory left."""


class _RunningCall(NamedTuple):
    """A call that a worker runs, and since when."""

    since: float
    worker: WorkerProcess
    call: ActivityCall

    def notify_cancel(self) -> None:
        """Ask the activity to stop."""
        self.worker.notify_cancel(self.call.cancellation.reason or "")

    def terminate(self) -> None:
        """End the worker, after its activity was told why."""
        self.notify_cancel()
        self.worker.terminate()


class ProcessPool:
    """Keeps up to `capacity` workers, each with a thread that sends it requests and waits for its responses."""

    def __init__(self, capacity: int, report: ReportResult, app: AppLocation) -> None:
        self._capacity = capacity
        self._report = report
        self._app = app
        self._queue: CallQueue[ActivityCall] = CallQueue()
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        """One for each call in the queue; False ends a feeder."""
        self._feeders: list[threading.Thread] = []
        self._running: dict[WorkKey, _RunningCall] = {}
        self._crashes: Counter[WorkKey] = Counter()
        self._stopping = threading.Event()
        self._paused = False

    def start(self, calls: Iterable[WorkItem]) -> None:
        for call in calls:
            assert isinstance(call, ActivityCall), "entity batches don't run in worker processes"
            self._put(call)
            self.maintain()

    def _put(self, call: ActivityCall) -> None:
        self._queue.append(call)
        self._tokens.put(True)

    def maintain(self) -> None:
        """Start another feeder thread if calls are queued, up to the capacity."""
        if len(self._feeders) < self._capacity and self._queue:
            feeder = threading.Thread(target=self._feed, name=f"durable-worker-{len(self._feeders)}", daemon=True)
            if start_thread(feeder):
                self._feeders.append(feeder)

    def set_app(self, app: AppLocation) -> None:
        """Run the calls that start from now on in workers that have loaded the app from here."""
        self._app = app

    def cancel(self, key: WorkKey) -> None:
        """Send SIGTERM, and SIGKILL if that has no effect within two seconds."""
        running = self._running.get(key)
        if running is not None:
            running.terminate()

    def expire(self, call: WorkItem) -> None:
        """Stop a call as `cancel` does. Its worker ends, and the next call gets another one."""
        running = self._running.pop(call.key, None)
        if running is not None:
            running.terminate()

    def notify_cancel(self, key: WorkKey) -> None:
        running = self._running.get(key)
        if running is not None:
            running.notify_cancel()

    def pause(self) -> None:
        self._paused = True
        for running in list(self._running.values()):
            running.notify_cancel()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def start_times(self) -> dict[WorkKey, float]:
        return {key: running.since for key, running in list(self._running.items())}

    def stop(self) -> None:
        self._stopping.set()
        for _ in self._feeders:
            self._tokens.put(False)
        for running in list(self._running.values()):
            running.worker.kill()
        for feeder in self._feeders:
            feeder.join(TERMINATE_TIMEOUT)

    def _feed(self) -> None:
        worker: WorkerProcess | None = None
        while self._tokens.get():
            call = self._queue.popleft()
            if self._paused:
                continue
            if call.cancellation.abandoned:
                self._report(call.make_cancelled_result())
                continue
            try:
                if worker is None or not worker.is_alive or worker.app is not self._app:
                    worker = self._replace_worker(worker)
                response = self._request(worker, call) if worker is not None else None
            except Exception as error:  # noqa: BLE001 - if the feeder ended, its call would never end
                if call.cancellation.settle():
                    self._report(to_failed_result(call.key, error))
                continue
            if worker is None:
                continue  # the engine is stopping
            if response is not None and not call.cancellation.abandoned and call.cancellation.settle():
                call.cancellation.observed = response.saw_cancelled
                self._report(ActivityResult(call.key, response.result, response.failure, response.outputs))
                continue
            # A worker that is dying, or is about to be killed, must not receive the next request.
            code, worker = worker.end_group(), None
            if not self._stopping.is_set():
                self._handle_crash(call, code)
        if worker is not None:
            worker.shut_down()

    def _replace_worker(self, dead: WorkerProcess | None) -> WorkerProcess | None:
        """Start a worker, in place of one that has died or has old code; None when the engine is stopping."""
        if dead is not None:
            dead.shut_down()
        attempts = 0
        while not (self._paused or self._stopping.is_set()):
            try:
                return WorkerProcess(self._app)
            except OSError as error:
                attempts += 1
                if attempts > _MAX_START_RETRIES and error.errno not in _TRANSIENT_ERRNOS:
                    raise
            self._stopping.wait(_START_RETRY_INTERVAL)
        return None

    def _request(self, worker: WorkerProcess, call: ActivityCall) -> WorkerResponse | None:
        """Run a call in the worker; None if the worker dies or the call is cancelled."""
        name, attempt, limit = call.function.name, call.attempt, call.payload_limit
        timer = call.cancellation.timer
        request = WorkerRequest(
            name, call.key, call.input, attempt, call.redelivered, call.first_attempt, limit, call.trace,
            is_timed=timer is not None or call.on_begin is not None,
             heartbeat_timeout=timer.heartbeat_timeout if timer is not None else None,
        )  # fmt: skip
        self._running[call.key] = entry = _RunningCall(monotonic(), worker, call)
        try:
            # A cancellation just before this line found no running worker.
            return None if call.cancellation.abandoned else worker.request(request, call)
        finally:
            if self._running.get(call.key) is entry:
                del self._running[call.key]

    def _handle_crash(self, call: ActivityCall, code: int) -> None:
        if call.cancellation.timer is not None and not call.cancellation.timer.suspend():
            return  # its time-out was reported
        if call.cancellation.abandoned:
            self._report(ActivityResult(call.key, NULL, None))
            return
        self._crashes[call.key] += 1
        if self._crashes[call.key] < MAX_CRASHES and call.on_begin is not None:
            self._report(ActivityResult(call.key, NULL, None, must_rerun=True))
            return
        if self._crashes[call.key] < MAX_CRASHES:
            self._put(replace(call, redelivered=True))
            return
        text = f"the worker process died {MAX_CRASHES} times while running the activity (exit code {code})"
        self._report(ActivityResult(call.key, None, Failure("durablecli.WorkerDied", text)))
