"""A daemon with gRPC as a process, and the client of the Python SDK."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask.client import TaskHubGrpcClient

from tests.support.cli_harness import CliHarness, DurableProcess

GRPC_APP = str(Path(__file__).with_name("grpc_app.py"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[CliHarness]:
    made = CliHarness(tmp_path)
    yield made
    made.close()


class GrpcDaemon:
    """A daemon with gRPC, and how to reach it."""

    def __init__(self, process: DurableProcess) -> None:
        self.process = process
        self.address = read_address(process)

    def make_client(self, **options: Any) -> TaskHubGrpcClient:
        """Make a client of the SDK that logs nothing."""
        return TaskHubGrpcClient(host_address=self.address, logger=logging.getLogger("tests.grpc.quiet"), **options)


def read_address(process: DurableProcess) -> str:
    """Return the address that a daemon has printed."""
    process.wait_for_output("listening for gRPC on ")
    found = re.search(r"listening for gRPC on (\S+) \(hub ", process.output)
    assert found is not None
    return found[1]


def start_grpc_daemon(hub: CliHarness, listen: str = "0", *more: str, **settings: str) -> GrpcDaemon:
    """Start a daemon with gRPC."""
    return GrpcDaemon(hub.start("run-daemon", "--app", GRPC_APP, "--grpc", listen, *more, **settings))


def catch_error(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """Return the status code and the message of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    assert "Traceback" not in error.details()
    return error.code(), error.details()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcDaemon]:
    """One daemon for the tests of a module."""
    hub = CliHarness(tmp_path_factory.mktemp("hub"))
    yield start_grpc_daemon(hub)
    hub.close()


@pytest.fixture
def client(daemon: GrpcDaemon) -> Iterator[TaskHubGrpcClient]:
    with daemon.make_client() as made:
        yield made
