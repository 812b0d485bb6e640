"""The main program of a worker process: loads the app, and runs one activity after another.

A thread reads the requests, and so notices the end of the engine even while an activity runs. Then it kills the process
group, so that the activity doesn't continue beside its redelivery.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue

import msgspec

from durablecli.apps.load import load_targets
from durablecli.apps.modules import LoadedApp
from durablecli.engine.workers.activity import ActivityCall, ActivityResult, to_failed_result
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.fork_guard import exit_if_forked, register_child_action
from durablecli.engine.workers.pipes import LineReader, close_quietly, write_line
from durablecli.engine.workers.worker_process import (
    TERMINATE_TIMEOUT,
    CancelNotice,
    WorkerRequest,
    WorkerResponse,
    WorkerSetup,
)
from durablecli.errors import ConfigError
from durablecli.model.events import ABSENT

_message_decoder = msgspec.json.Decoder(WorkerSetup | WorkerRequest | CancelNotice)


class EngineConnection:
    """The two pipes to the engine."""

    def __init__(self, request_fd: int, response_fd: int) -> None:
        self.setups: SimpleQueue[WorkerSetup | None] = SimpleQueue()
        self.requests: SimpleQueue[tuple[WorkerRequest, Cancellation] | None] = SimpleQueue()
        self._request_fd = request_fd
        self._response_fd = response_fd
        self._current = Cancellation()
        self._is_busy = False
        for fd in (request_fd, response_fd):
            os.set_inheritable(fd, False)
        register_child_action(lambda: close_quietly(request_fd, response_fd))

    def start(self) -> None:
        threading.Thread(target=self._read, name="durable-requests", daemon=True).start()

    def respond(self, response: WorkerResponse) -> None:
        """Send the response to the current request."""
        self._is_busy = False
        write_line(self._response_fd, _encode(response))

    def _read(self) -> None:
        parent = os.getppid()
        reader = LineReader(self._request_fd, lambda: os.getppid() == parent)
        while (line := reader.read()) is not None:
            match _message_decoder.decode(line):
                case WorkerSetup() as setup:
                    self.setups.put(setup)
                case WorkerRequest() as request:
                    self._is_busy = True
                    self._current = Cancellation()
                    self.requests.put((request, self._current))
                case CancelNotice():
                    self._current.request()
        if self._is_busy:
            _kill_group()
        self.setups.put(None)
        self.requests.put(None)


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

    def __init__(self, setup: WorkerSetup) -> None:
        self._loaded: LoadedApp | None = None
        self._error = ""
        # After all imports of the worker itself, so that no file of the author's shadows one of these modules.
        sys.path[:] = setup.path
        try:
            self._loaded = load_targets(setup.targets, setup.base)
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
        return ActivityCall(
            request.key, function, input, attempt, request.redelivered, request.first_attempt, limit, cancellation
        ).run()

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
    runner, process = ActivityRunner(setup), os.getpid()
    while (item := connection.requests.get()) is not None:
        request, cancellation = item
        result = runner.run(request, cancellation)
        exit_if_forked(process, result)
        connection.respond(
            WorkerResponse(result.result or ABSENT, result.failure, result.outputs, cancellation.observed)
        )
    _exit_after_timeout()


def _exit_after_timeout() -> None:
    """End the process even if a thread that an activity has started doesn't end."""
    timer = threading.Timer(TERMINATE_TIMEOUT / 2, os._exit, (0,))
    timer.daemon = True
    with suppress(RuntimeError):
        timer.start()


if __name__ == "__main__":
    main()
