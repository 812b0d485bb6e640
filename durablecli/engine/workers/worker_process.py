"""One worker process as the engine sees it: how it is started, asked, and ended.

Orders and answers go over two pipes of their own, so the standard streams belong to the activities: stdin is empty,
stdout and stderr are the engine's stderr. A worker leads a process group, so that what an activity has started ends
with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, sleep

import msgspec

from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.fork_guard import register_child_action
from durablecli.engine.workers.pipes import LineReader, close_quietly, write_line
from durablecli.model.events import ABSENT, BindingOutput
from durablecli.model.failures import Failure

TERMINATE_TIMEOUT = 2.0
"""Seconds between TERM and KILL."""
_POLL_INTERVAL = 0.02


class WorkerSetup(msgspec.Struct, tag=True):
    """The first line: what the worker loads, and where the engine itself finds modules."""

    base: str
    targets: list[str]
    path: list[str]


class WorkerRequest(msgspec.Struct, tag=True):
    """One activity to run."""

    name: str
    key: WorkKey
    input: msgspec.Raw
    attempt: int
    redelivered: bool
    first_attempt: int
    payload_limit: int


class CancelNotice(msgspec.Struct, tag=True):
    """The activity that runs is to see `context.cancelled`."""


class WorkerResponse(msgspec.Struct, omit_defaults=True):
    """The outcome of an order. `saw_cancelled`: the activity has read `context.cancelled` when it was true."""

    result: msgspec.Raw = ABSENT
    failure: Failure | None = None
    outputs: tuple[BindingOutput, ...] = ()
    saw_cancelled: bool = False


_response_decoder = msgspec.json.Decoder(WorkerResponse)


class WorkerProcess:
    """Used by one thread; only `cancel`, `terminate` and `kill` may be called from others."""

    def __init__(self, targets: Sequence[str], base: str, folder: str) -> None:
        """Start the process in `folder`. Raises OSError when there are no processes or file handles left."""
        orders, self._request_fd = os.pipe()
        try:
            self._response_fd, answers = os.pipe()
        except OSError:
            close_quietly(orders, self._request_fd)
            raise
        command = [sys.executable, "-P", "-m", "durablecli.apps.worker_main", str(orders), str(answers)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(orders, answers), cwd=folder, process_group=0
            )
        except BaseException:
            close_quietly(self._request_fd, self._response_fd)
            raise
        finally:
            close_quietly(orders, answers)
        self._reader = LineReader(self._response_fd, self._may_respond)
        self._signal_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._ended = False
        self._cancelled = False
        self._kill_at: float | None = None
        self._unregister_child_action = register_child_action(
            lambda: close_quietly(self._request_fd, self._response_fd)
        )
        self._send(WorkerSetup(base, list(targets), [os.path.abspath(os.path.join(folder, each)) for each in sys.path]))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def request(self, request: WorkerRequest) -> WorkerResponse | None:
        """Its answer; None when it has died or was ended."""
        self._cancelled = False
        if not self._send(request):
            return None
        if self._cancelled:
            self._send(CancelNotice())
        try:
            line = self._reader.read()
            return None if line is None else _response_decoder.decode(line)
        except (OSError, msgspec.DecodeError):
            return None

    def notify_cancel(self) -> None:
        """Let the activity that runs see that it is to stop. Never waits for the worker."""
        self._cancelled = True
        if self._write_lock.acquire(blocking=False):  # else an order is being written, and this is sent behind it
            try:
                self._write(CancelNotice())
            finally:
                self._write_lock.release()

    def terminate(self) -> None:
        """TERM, and KILL when that has no effect within the grace period."""
        self._kill_at = monotonic() + TERMINATE_TIMEOUT
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def shut_down(self) -> None:
        """End a worker that has nothing to do. What activities have left running in the background goes on."""
        self._close()
        try:
            self._process.wait(TERMINATE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._reap()

    def end_group(self) -> int:
        """End a worker that has died, or whose activity is cancelled, with all that it has started; its exit code."""
        until = monotonic() + TERMINATE_TIMEOUT
        if self._kill_at is None:
            self._signal(signal.SIGTERM)
        while self._has_group_members() and monotonic() < until:
            sleep(_POLL_INTERVAL)
        self._signal(signal.SIGKILL)
        self._close()
        return self._reap()

    def _has_group_members(self) -> bool:
        """Whether a process of the group is left."""
        self._process.poll()
        with suppress(OSError):
            os.killpg(self.pid, 0)
            return True
        return False

    def _close(self) -> None:
        """Send no more: for the worker that is the end of its work."""
        with self._write_lock:
            orders, self._request_fd = self._request_fd, -1  # its number may soon be another file's
            close_quietly(orders)

    def _reap(self) -> int:
        with self._signal_lock:
            self._ended = True
        self._unregister_child_action()
        answers, self._response_fd = self._response_fd, -1
        close_quietly(answers)
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._signal_lock, suppress(ProcessLookupError, PermissionError):
            if not self._ended:  # the number of a group that is gone may be another's
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
