"""What the SDKs connect to: a daemon of durablecli, or the in-memory backend of the Python package.

The variable `SDK_BACKEND=memory` runs the tests against the package's own backend, to see whether a test expects what
the protocol promises. Tests of what that backend leaves out are marked with `daemon_only`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from durabletask.testing import create_test_backend

from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.ports import find_free_port

IN_MEMORY = os.environ.get("SDK_BACKEND") == "memory"

daemon_only = pytest.mark.skipif(IN_MEMORY, reason="the in-memory backend doesn't do this")


class DaemonBackend:
    """A daemon with a hub of its own. It can be stopped, killed and started again at the same address."""

    def __init__(self, folder: Path, app: Path | None = None) -> None:
        self.cli = CliHarness(folder)
        self.address = f"localhost:{find_free_port()}"
        self._app = app
        self.process = self.start()

    def start(self) -> DurableProcess:
        """Start the daemon, and wait until it serves."""
        app = [] if self._app is None else ["--app", str(self._app)]
        self.process = self.cli.start("run-daemon", "--grpc", self.address.rpartition(":")[2], *app)
        self.process.wait_for_output("gRPC")
        return self.process

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> None:
        """End the daemon as an operator does, and check that nothing was damaged and no traceback was printed."""
        assert self.process.alive, self.process.output
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait_for_exit() == 0, self.process.output
        assert "Traceback" not in self.process.output, self.process.output
        self.cli.assert_sound()


@contextmanager
def run_daemon(folder: Path, app: Path | None = None) -> Iterator[DaemonBackend]:
    """A daemon in the folder; at the end it is stopped, and its hub is checked."""
    daemon = DaemonBackend(folder, app)
    try:
        yield daemon
        daemon.stop()
    finally:
        daemon.cli.close()


@contextmanager
def run_backend(folder: Path) -> Iterator[str]:
    """The address of the backend that was chosen, while it runs."""
    if IN_MEMORY:
        port = find_free_port()
        backend = create_test_backend(port)
        try:
            yield f"localhost:{port}"
        finally:
            backend.stop()
    else:
        with run_daemon(folder) as daemon:
            yield daemon.address
