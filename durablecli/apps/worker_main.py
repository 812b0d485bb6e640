"""The main program of a worker process: loads the app, and runs one activity after another.

A thread reads the requests, and so notices the end of the engine even while an activity runs. Then it kills the process
group, so that the activity doesn't continue beside its redelivery.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue

import msgspec

from durablecli.apps.load import load_targets
from durablecli.apps.modules import LoadedApp
from durablecli.config import TelemetryConfig
from durablecli.engine.output_capture import OutputCapture
from durablecli.engine.workers.activity import ActivityCall, ActivityResult, to_failed_result
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.fork_guard import exit_if_forked, register_child_action
from durablecli.engine.workers.pipes import LineReader, close_quietly, write_line
from durablecli.engine.workers.traced_calls import trace_activity
from durablecli.engine.workers.work_output import OutputLog
from durablecli.engine.workers.worker_process import (
    TERMINATE_TIMEOUT,
    BeginNotice,
    CancelNotice,
    ProgressNotice,
    WorkerOutput,
    WorkerRequest,
    WorkerResponse,
    WorkerSetup,
)
from durablecli.errors import ConfigError
from durablecli.model.events import ABSENT
from durablecli.model.log_entry import LogEntry, encode_safely
from durablecli.telemetry.interface import Tracing

_PROGRESS_INTERVAL = 0.5
_message_decoder = msgspec.json.Decoder(WorkerSetup | WorkerRequest | CancelNotice)


class EngineConnection:
    """The two pipes to the engine. It is also the log of what activities print."""

    def __init__(self, request_fd: int, response_fd: int) -> None:
        self.setups: SimpleQueue[WorkerSetup | None] = SimpleQueue()
        self.requests: SimpleQueue[tuple[WorkerRequest, Cancellation] | None] = SimpleQueue()
        self._request_fd = request_fd
        self._response_fd = response_fd
        self._current = Cancellation()
        self._is_busy = False
        self._write_lock = threading.RLock()  # reentrant: a signal handler may print while a line is written
        self._is_writing = False
        self._progress = ProgressSender(self._send_report)
        for fd in (request_fd, response_fd):
            os.set_inheritable(fd, False)
        register_child_action(lambda: close_quietly(request_fd, response_fd))

    def start(self) -> None:
        threading.Thread(target=self._read, name="durable-requests", daemon=True).start()

    def respond(self, response: WorkerResponse) -> None:
        """Send the response to the current request."""
        line = _encode(response)
        with self._write_lock:
            self._is_busy = False
            self._write(line)

    def _send_report(self, call: Cancellation) -> None:
        """Send what the running activity has reported last; nothing if it has ended."""
        with self._write_lock:
            if self._is_busy and call is self._current:
                self._write(msgspec.json.encode(ProgressNotice(call.progress, call.heartbeat)))

    def begin(self) -> None:
        """Say that the activity of the current request begins."""
        with self._write_lock:
            self._write(msgspec.json.encode(BeginNotice()))

    def now(self) -> datetime:
        """Return the time for an entry."""
        return datetime.now(UTC)

    def add(self, instance: str, entries: list[LogEntry]) -> None:
        """Send what an activity prints and logs, at once: so it survives a crash of this process."""
        line = encode_safely(entries, lambda safe: msgspec.json.encode(WorkerOutput(instance, safe)))
        with self._write_lock, suppress(OSError):
            if not self._is_writing:
                self._write(line)

    def _write(self, line: bytes) -> None:
        self._is_writing = True
        try:
            write_line(self._response_fd, line)
        finally:
            self._is_writing = False

    def _read(self) -> None:
        parent = os.getppid()
        reader = LineReader(self._request_fd, lambda: os.getppid() == parent)
        while (line := reader.read()) is not None:
            match _message_decoder.decode(line):
                case WorkerSetup() as setup:
                    self.setups.put(setup)
                case WorkerRequest() as request:
                    self._is_busy = True
                    self._current = call = Cancellation()
                    call.on_report = partial(self._progress.notify, call, _choose_interval(request))
                    self.requests.put((request, call))
                case CancelNotice(reason=reason):
                    self._current.request(reason)
        if self._is_busy:
            _kill_group()
        self.setups.put(None)
        self.requests.put(None)


class ProgressSender:
    """Has what activities report sent to the engine, at once and then at most every half second, the last in any case;
    more often if a heartbeat is due within less time.

    Its thread begins with the first report.
    """

    def __init__(self, send: Callable[[Cancellation], None]) -> None:
        self._send = send
        self._latest: Cancellation | None = None
        self._interval = _PROGRESS_INTERVAL
        self._reported = threading.Event()
        self._thread: threading.Thread | None = None

    def notify(self, call: Cancellation, interval: float) -> None:
        """Note that a call has reported something, to be sent every `interval` seconds; called by its thread."""
        self._latest, self._interval = call, interval
        self._reported.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="durable-progress", daemon=True)
            with suppress(RuntimeError):  # without a thread the progress isn't shown
                self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):  # the engine is gone
            while self._reported.wait():
                self._reported.clear()
                if self._latest is not None:
                    self._send(self._latest)
                time.sleep(self._interval)


def _choose_interval(request: WorkerRequest) -> float:
    timeout = request.heartbeat_timeout
    return _PROGRESS_INTERVAL if timeout is None else min(_PROGRESS_INTERVAL, timeout / 5)


def _encode(response: WorkerResponse) -> bytes:
    try:
        return msgspec.json.encode(response)
    except Exception as error:  # noqa: BLE001 - without a response the engine would wait for ever
        return msgspec.json.encode(WorkerResponse(failure=to_failed_result(("", "", 0), error).failure))


def _kill_group() -> None:
    with suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)


class ActivityRunner:
    """Loads the app once, and runs each activity in the folder that was current then."""

    def __init__(self, setup: WorkerSetup, output_log: OutputLog | None = None, tracing: Tracing | None = None) -> None:
        self._tracing = tracing
        self._loaded: LoadedApp | None = None
        self._error = ""
        self._output_log = output_log
        # After all imports of the worker itself, so that no file of the author's shadows one of these modules.
        sys.path[:] = setup.path
        try:
            self._loaded = load_targets(setup.targets, setup.base, setup.project, setup.contents)
        except ConfigError as error:
            self._error = str(error)
        self._folder = os.getcwd()

    def run(self, request: WorkerRequest, cancellation: Cancellation) -> ActivityResult:
        """Run one activity and return its result."""
        with suppress(OSError):
            os.chdir(self._folder)
        function = self._loaded.registry.find_activity(request.name) if self._loaded is not None else None
        if function is None:
            return to_failed_result(request.key, LookupError(self._why_missing(request.name)))
        input, attempt, limit = request.input, request.attempt, request.payload_limit
        call = ActivityCall(
            request.key,
            function,
            input,
            attempt,
            request.redelivered,
            request.first_attempt,
            limit,
            cancellation,
            self._output_log,
        )
        if request.trace is not None and self._tracing is not None:
            call = trace_activity(call, request.trace, self._tracing)
        return call.run()

    def close(self) -> None:
        """Tear down the resources."""
        if self._loaded is not None:
            self._loaded.registry.close_resources()

    def _why_missing(self, name: str) -> str:
        errors = [module.error for module in self._loaded.modules if module.error] if self._loaded else [self._error]
        return "; ".join([f"activity '{name}' can't be loaded in the worker process", *errors])


def main() -> None:
    connection = EngineConnection(int(sys.argv[1]), int(sys.argv[2]))
    signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl-C is for the engine, which ends its workers
    with suppress(OSError):
        os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(line_buffering=True, errors="backslashreplace")
    connection.start()
    setup = connection.setups.get()
    if setup is None:
        return
    logging.getLogger().setLevel(setup.log_level)
    with ExitStack() as stack:
        tracing = _open_tracing(setup.telemetry, stack) if setup.telemetry is not None else None
        runner = ActivityRunner(setup, connection, tracing)
        OutputCapture().start()
        _run_requests(runner, connection)
        _exit_after_timeout()
        runner.close()


def _open_tracing(settings: TelemetryConfig, stack: ExitStack) -> Tracing | None:
    from durablecli.telemetry.setup import open_tracing

    return stack.enter_context(open_tracing(settings, lambda text: None))


def _run_requests(runner: ActivityRunner, connection: EngineConnection) -> None:
    process = os.getpid()
    while (item := connection.requests.get()) is not None:
        request, cancellation = item
        if request.is_timed:
            connection.begin()
        result = runner.run(request, cancellation)
        exit_if_forked(process, result)
        connection.respond(
            WorkerResponse(result.result or ABSENT, result.failure, result.outputs, cancellation.observed)
        )


def _exit_after_timeout() -> None:
    """End the process even if a thread that an activity has started, or a tear-down, doesn't end."""
    timer = threading.Timer(TERMINATE_TIMEOUT * 0.9, os._exit, (0,))
    timer.daemon = True
    with suppress(RuntimeError):
        timer.start()


if __name__ == "__main__":
    main()
