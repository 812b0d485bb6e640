"""Answers to another engine: which errors are of the moment, and that one bad piece of work stops no other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest

from durablecli.config import Config
from durablecli.dts.address import parse_engine_address
from durablecli.dts.channel import open_channel
from durablecli.dts.engine_worker import EngineWorker
from durablecli.dts.work_stream import AnswerSender, WorkStream
from durablecli.engine.workers.app_location import AppLocation
from durablecli.protocol.generated import pb
from durablecli.testing import build_registry
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until


class Outcome:
    """A call that has ended."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def add_done_callback(self, call: Callable[[Outcome], None]) -> None:
        call(self)


class Method:
    """A method of the engine that ends with each of these, one after another, and then with success."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = [*outcomes]
        self.count = 0

    def future(self, message: Any, timeout: float) -> Outcome:
        self.count += 1
        return self._outcomes.pop(0) if self._outcomes else Outcome(grpc.StatusCode.OK, "")


@pytest.fixture
def channel() -> Generator[grpc.Channel]:
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        yield channel


def send(channel: grpc.Channel, code: grpc.StatusCode, details: str) -> tuple[int, list[str]]:
    """How often an answer is sent until the engine takes or refuses it, and what it said."""
    due: list[Callable[[], None]] = []
    told: list[str] = []
    method = Method(Outcome(code, details))
    sender = AnswerSender(channel, lambda seconds, call: due.append(call))
    sender.send(method, pb.ActivityResponse(), lambda: told.append("taken"), lambda code, text: told.append(text))
    while due:
        due.pop(0)()
    assert sender.in_flight == 0
    return method.count, told


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "connection lost"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
    ],
)
def test_an_answer_is_sent_again_after_an_error_of_the_moment(
    channel: grpc.Channel, code: grpc.StatusCode, details: str
) -> None:
    assert send(channel, code, details) == (2, ["taken"])


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "no such token"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (5 vs. 4)"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4: 5"),
    ],
)
def test_an_answer_that_is_refused_is_not_sent_again(
    channel: grpc.Channel, code: grpc.StatusCode, details: str
) -> None:
    assert send(channel, code, details) == (1, [details])


@pytest.mark.parametrize("error", [IndexError("no such item"), RecursionError("too deep"), RuntimeError("broken")])
def test_work_that_cannot_be_read_is_put_off_whatever_is_wrong_with_it(
    channel: grpc.Channel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    address = parse_engine_address("dts://127.0.0.1:1")
    worker = EngineWorker(channel, address, build_registry(), Config(), AppLocation(), print)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker._turns, "run", fail)
    worker._handle(pb.WorkItem(orchestratorRequest=pb.OrchestratorRequest(instanceId="x")))
    assert caplog.messages == [f"x can't run here: its work can't be read: {type(error).__name__}: {error}"]


def test_a_stream_goes_on_when_the_file_of_its_token_was_missing_for_a_moment(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    events: list[Any] = []
    with open_channel(parse_engine_address(f"dts://127.0.0.1:{find_free_port()};TokenFile={token}")) as channel:
        stream = WorkStream(channel, pb.GetWorkItemsRequest(), events.append)
        token.unlink()
        stream.start()
        try:
            wait_until(lambda: bool(events), 10, "the first attempt")
            token.write_text("another")
            wait_until(lambda: events[-1].code is grpc.StatusCode.UNAVAILABLE, 10, "a further attempt")
        finally:
            stream.stop()
    assert events[0].reason == f"{token}: No such file or directory"
