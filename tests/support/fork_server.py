"""A server that forks `durable` processes: each is a process of its own, without the half second that imports take.

The server imports all of durablecli and waits. For each request it forks, and the child becomes the command, with its
own session, folder, environment, streams and memory. On systems other than Linux, and where the environment changes how
Python itself starts, the command is executed instead. Tests of the start itself use `subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "durablecli"]
_MAX_REQUEST = 128 * 1024
_FIRST_FREE = 3


class ForkedProcess:
    """A process that the server forked, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def __del__(self) -> None:
        os.close(self._status)

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired(COMMAND, timeout or 0.0)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, milliseconds: float | None) -> int | None:
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._status, select.POLLIN)
            if poller.poll(milliseconds):
                self.returncode = int(os.read(self._status, 16))
        return self.returncode


Started = ForkedProcess | subprocess.Popen[bytes]


class ForkClient:
    """The connection of a test process to its server, which ends with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno())
        theirs.close()
        atexit.register(self.close)

    def close(self) -> None:
        self._connection.close()
        self._server.wait()

    def start(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> ForkedProcess:
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        status, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._connection, [request], [stdout, stderr, theirs])
                answer = self._connection.recv(_MAX_REQUEST)
        finally:
            os.close(theirs)
        return ForkedProcess(int(answer), status)


_clients: list[ForkClient] = []


def start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: int, stderr: int) -> Started:
    """Start `durable` with these arguments in a session of its own, reading nothing."""
    if not _can_fork(environment):
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    if not _clients:
        _clients.append(ForkClient())
    return _clients[0].start(arguments, folder, environment, stdout, stderr)


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `durable` to its end, like `subprocess.run` with captured output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(arguments, folder, environment, out.fileno(), err.fileno())
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess([*COMMAND, *arguments], code, out.read().decode(), err.read().decode())


def _can_fork(environment: Mapping[str, str]) -> bool:
    return sys.platform == "linux" and _interpreter_settings(environment) == _interpreter_settings(os.environ)


def _interpreter_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LANG", "LC_"))}


# ── the server ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _import_everything() -> None:
    import durablecli

    for module in pkgutil.walk_packages(durablecli.__path__, "durablecli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _serve(connection: socket.socket) -> list[Any]:
    """Fork a child for each request and report its end. Returns only in a child, with its request."""
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                message, files, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 3)
                if not message:
                    os._exit(0)
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    connection.detach()
                    return [*json.loads(message), files]
                connection.send(str(pid).encode())
                for file in files[:2]:
                    os.close(file)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, files[2]))
            else:
                pid, status = key.data
                selector.unregister(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(status, str(code).encode())
                os.close(status)


def _become(arguments: list[str], folder: str, environment: dict[str, str], files: Sequence[int]) -> None:
    """Take over what `exec` would give a new process: session, folder, environment, streams and search path."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *files[:2])):
        os.dup2(file, number)
    os.closerange(_FIRST_FREE, 1024)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv[:] = ["durable", *arguments]


if __name__ == "__main__":
    _import_everything()
    _become(*_serve(socket.socket(fileno=os.dup(0))))
    runpy.run_module("durablecli", run_name="__main__", alter_sys=True)
