"""The engine's side of one worker process: starts it, sends it requests, and ends it.

Requests and responses are JSON lines over two pipes, so the standard streams belong to the activities: stdin is empty,
stdout and stderr are the engine's stderr. A worker leads a process group, so that the processes that an activity has
started end with it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from time import monotonic, sleep

import msgspec

from durablecli.config import TelemetryConfig
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.fork_guard import register_child_action
from durablecli.engine.workers.pipes import LineReader, close_quietly, write_line
from durablecli.model.binding_output import BindingOutput
from durablecli.model.events import ABSENT
from durablecli.model.failures import Failure
from durablecli.model.log_entry import LogEntry
from durablecli.model.reported_heartbeat import ReportedHeartbeat
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.trace_context import TraceContext

TERMINATE_TIMEOUT = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_POLL_INTERVAL = 0.02


class WorkerSetup(msgspec.Struct, tag=True):
    """The first line: the app to load, and the engine's `sys.path`."""

    base: str
    targets: list[str]
    path: list[str]
    log_level: int = logging.WARNING
    """The level of the engine's root logger."""
    telemetry: TelemetryConfig | None = None
    """The settings of tracing, if the engine traces."""
    project: str | None = None
    contents: dict[str, bytes] = {}
    """Files of the app that are loaded as they are here, not as they are on the disk."""


class WorkerRequest(msgspec.Struct, tag=True):
    """One activity to run."""

    name: str
    key: WorkKey
    input: msgspec.Raw
    attempt: int
    redelivered: bool
    first_attempt: int
    payload_limit: int
    trace: TraceContext | None = None
    is_timed: bool = False
    """Whether the engine wants to know when the activity begins."""
    heartbeat_timeout: float | None = None


class CancelNotice(msgspec.Struct, tag=True):
    """Sets `context.cancelled` of the running activity."""

    reason: str = ""


class BeginNotice(msgspec.Struct, tag=True):
    """The activity begins: the worker has loaded the app before."""


class ProgressNotice(msgspec.Struct, tag=True):
    """What the running activity has reported last."""

    progress: ReportedProgress | None = None
    heartbeat: ReportedHeartbeat | None = None


class WorkerResponse(msgspec.Struct, tag=True, omit_defaults=True):
    """The result of a request. `saw_cancelled` says that the activity has read `context.cancelled` as true."""

    result: msgspec.Raw = ABSENT
    failure: Failure | None = None
    outputs: tuple[BindingOutput, ...] = ()
    saw_cancelled: bool = False


class WorkerOutput(msgspec.Struct, tag=True):
    """What an activity has printed and logged: entries for the log of its instance."""

    instance: str
    entries: list[LogEntry]


_response_decoder = msgspec.json.Decoder(BeginNotice | ProgressNotice | WorkerOutput | WorkerResponse)


class WorkerProcess:
    """A worker process, used by one thread; others may call only `notify_cancel`, `terminate` and `kill`."""

    def __init__(self, app: AppLocation) -> None:
        """Start the process. Raises OSError if there are no processes or file handles left."""
        self.app = app
        worker_request_fd, self._request_fd = os.pipe()
        try:
            self._response_fd, worker_response_fd = os.pipe()
        except OSError:
            close_quietly(worker_request_fd, self._request_fd)
            raise
        worker_fds = worker_request_fd, worker_response_fd
        command = [sys.executable, "-P", "-m", "durablecli.apps.worker_main", *map(str, worker_fds)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=worker_fds, cwd=app.folder, process_group=0
            )
        except BaseException:
            close_quietly(self._request_fd, self._response_fd)
            raise
        finally:
            close_quietly(*worker_fds)
        self._reader = LineReader(self._response_fd, self._may_respond)
        self._signal_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._ended = False
        self._cancelled = ""
        self._kill_at: float | None = None
        self._unregister_child_action = register_child_action(
            lambda: close_quietly(self._request_fd, self._response_fd)
        )
        path = [os.path.abspath(os.path.join(app.folder, each)) for each in sys.path]
        level = logging.getLogger().level
        contents = dict(app.contents)  # a copy: later imports add to it
        self._send(WorkerSetup(app.base, list(app.targets), path, level, app.telemetry, app.project, contents))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def request(self, request: WorkerRequest, call: ActivityCall) -> WorkerResponse | None:
        """Send the request of a call and return the response; None if the worker has died or was ended.

        What the activity reports meanwhile goes to the call, and what it prints to the log of the call.
        """
        self._cancelled = ""
        if not self._send(request):
            return None
        if self._cancelled:
            self._send(CancelNotice(self._cancelled))
        try:
            while (line := self._reader.read()) is not None:
                message = _response_decoder.decode(line)
                if isinstance(message, WorkerResponse):
                    return message
                self._take_notice(message, call)
                self._may_respond()  # kills an activity that should end and keeps reporting instead
        except (OSError, msgspec.DecodeError):
            return None
        return None

    def _take_notice(self, message: BeginNotice | ProgressNotice | WorkerOutput, call: ActivityCall) -> None:
        cancellation = call.cancellation
        if isinstance(message, ProgressNotice):
            if message.progress is not None:
                cancellation.report_progress(message.progress)
            if message.heartbeat is not None and message.heartbeat != cancellation.heartbeat:
                cancellation.report_heartbeat(message.heartbeat)
        elif isinstance(message, WorkerOutput):
            if call.output_log is not None:
                call.output_log.add(message.instance, message.entries)
        else:
            if call.on_begin is not None:
                call.on_begin()
            if cancellation.timer is not None:
                cancellation.timer.begin(call)

    def notify_cancel(self, reason: str) -> None:
        """Ask the running activity to stop. Never waits for the worker."""
        self._cancelled = reason
        if self._write_lock.acquire(blocking=False):  # else a request is being written, and this is sent after it
            try:
                self._write(CancelNotice(reason))
            finally:
                self._write_lock.release()

    def terminate(self) -> None:
        """Send SIGTERM, and SIGKILL if that has no effect within the timeout."""
        self._kill_at = monotonic() + TERMINATE_TIMEOUT
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def shut_down(self) -> None:
        """End an idle worker. Processes that its activities have left in the background continue."""
        self._close()
        try:
            self._process.wait(TERMINATE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._reap()

    def end_group(self) -> int:
        """End a worker that has died, or whose activity is cancelled, with its process group; return its exit code."""
        until = monotonic() + TERMINATE_TIMEOUT
        if self._kill_at is None:
            self._signal(signal.SIGTERM)
        while self._has_group_members() and monotonic() < until:
            sleep(_POLL_INTERVAL)
        self._signal(signal.SIGKILL)
        self._close()
        return self._reap()

    def _has_group_members(self) -> bool:
        """Return whether a process of the group is left."""
        self._process.poll()
        with suppress(OSError):
            os.killpg(self.pid, 0)
            return True
        return False

    def _close(self) -> None:
        """Close the request pipe, at which the worker ends."""
        with self._write_lock:
            fd, self._request_fd = self._request_fd, -1  # its number may soon be another file's
            close_quietly(fd)

    def _reap(self) -> int:
        with self._signal_lock:
            self._ended = True
        self._unregister_child_action()
        fd, self._response_fd = self._response_fd, -1
        close_quietly(fd)
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._signal_lock, suppress(ProcessLookupError, PermissionError):
            if not self._ended:  # the id of an ended group may be another group's by now
                os.killpg(self.pid, number)

    def _send(self, message: WorkerSetup | WorkerRequest | CancelNotice) -> bool:
        with self._write_lock:
            return self._write(message)

    def _write(self, message: WorkerSetup | WorkerRequest | CancelNotice) -> bool:
        try:
            write_line(self._request_fd, msgspec.json.encode(message))
        except OSError:
            return False
        return True

    def _may_respond(self) -> bool:
        if self._kill_at is not None and monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)
        return self.is_alive
