"""Calls to another engine: which error each failure becomes, and what is repeated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from durablecli.dts.address import EngineAddress, parse_engine_address
from durablecli.dts.calls import ProtocolCalls, denied_error, pages
from durablecli.dts.work_stream import describe_error
from durablecli.errors import (
    Conflict,
    DurableError,
    EngineUnavailable,
    NoPermission,
    NotFound,
    TimedOut,
    UsageError,
    WrongState,
)
from durablecli.protocol.generated import pb, stubs
from tests.support.ports import find_free_port

Behaviour = Callable[[str, Any, Any], Any]


@contextmanager
def run_server(behave: Behaviour, port: int = 0) -> Iterator[int]:
    """A server whose every method is the function, called with the method's name, the request and the context."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, details: Any) -> Any:
            name = details.method.rpartition("/")[2]
            return grpc.unary_unary_rpc_method_handler(lambda request, context: behave(name, request, context))

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@contextmanager
def open_calls(port: int) -> Iterator[ProtocolCalls]:
    calls = ProtocolCalls(EngineAddress("127.0.0.1", port), stubs.TaskHubSidecarServiceStub)
    try:
        yield calls
    finally:
        calls.close()


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("NOT_FOUND", NotFound, ": first line"),
        ("ALREADY_EXISTS", Conflict, ": first line"),
        ("ABORTED", Conflict, ": first line"),
        ("FAILED_PRECONDITION", WrongState, ": first line"),
        ("INVALID_ARGUMENT", UsageError, ": first line"),
        ("OUT_OF_RANGE", UsageError, ": first line"),
        (
            "UNAUTHENTICATED",
            NoPermission,
            " requires a token: first line (TokenFile=PATH in the address names a file with one)",
        ),
        ("PERMISSION_DENIED", NoPermission, ": first line"),
        ("UNIMPLEMENTED", UsageError, " can't do this: first line"),
        ("RESOURCE_EXHAUSTED", EngineUnavailable, ": first line"),
        ("DEADLINE_EXCEEDED", EngineUnavailable, " has not answered within 30 s"),
        ("INTERNAL", DurableError, " failed: first line"),
        ("UNKNOWN", DurableError, " failed: first line"),
        ("DATA_LOSS", DurableError, " failed: first line"),
    ],
)
def test_a_status_becomes_an_error_of_one_line(code: str, error: type[DurableError], text: str) -> None:
    def fail(name: str, request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode[code], "first line\nTraceback: second line")

    with run_server(fail) as port, open_calls(port) as calls, pytest.raises(DurableError) as raised:
        calls.read("GetInstance", pb.GetInstanceRequest(instanceId="a"))
    assert type(raised.value) is error
    assert str(raised.value) == f"127.0.0.1:{port}{text}"


@pytest.mark.parametrize(
    ("code", "details", "text"),
    [
        (
            "UNAVAILABLE",
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
            "Connection refused",
        ),
        ("UNAVAILABLE", "", "unavailable"),
        ("NOT_FOUND", "no task hub", "not found: no task hub"),
        ("UNAUTHENTICATED", "a key is required\nsecond line", "a key is required"),
        ("INTERNAL", "", "internal"),
    ],
)
def test_a_lost_stream_is_described_on_one_line(code: str, details: str, text: str) -> None:
    error = grpc.RpcError()
    error.code, error.details = lambda: grpc.StatusCode[code], lambda: details
    assert describe_error(error) == text


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_token_that_is_refused_is_not_asked_for(code: str) -> None:
    address = parse_engine_address("dts://host:1;default;TokenFile=tokens")
    error = denied_error(address, grpc.StatusCode[code], "expired")
    assert str(error) in ("host:1 refused the token: expired", "host:1: expired")


def test_a_read_is_repeated_while_the_engine_is_unavailable() -> None:
    seen: list[str] = []

    def behave(name: str, request: Any, context: Any) -> bytes:
        seen.append(name)
        if len(seen) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return bytes(pb.GetInstanceResponse(exists=True).SerializeToString())

    with run_server(behave) as port, open_calls(port) as calls:
        assert calls.read("GetInstance", pb.GetInstanceRequest()).exists
    assert seen == ["GetInstance"] * 3


def test_an_engine_that_starts_meanwhile_is_reached() -> None:
    port = find_free_port()
    ready, done = threading.Event(), threading.Event()

    def run_later() -> None:
        ready.wait(10)
        time.sleep(0.3)
        with run_server(lambda name, request, context: b"", port):
            done.wait(20)

    thread = threading.Thread(target=run_later)
    thread.start()
    try:
        with open_calls(port) as calls:
            ready.set()
            assert calls.send("RaiseEvent", pb.RaiseEventRequest()) == pb.RaiseEventResponse()
    finally:
        done.set()
        thread.join(20)


def test_what_changes_something_is_sent_once_and_an_unknown_outcome_is_told() -> None:
    seen: list[str] = []

    def behave(name: str, request: Any, context: Any) -> bytes:
        seen.append(name)
        if name == "RaiseEvent":
            context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
        return bytes(Empty().SerializeToString())

    with run_server(behave) as port, open_calls(port) as calls, pytest.raises(EngineUnavailable) as raised:
        calls.send("RaiseEvent", pb.RaiseEventRequest())
    assert seen == ["Hello", "RaiseEvent"]
    assert str(raised.value) == f"cannot reach 127.0.0.1:{port}: stopping; whether it took effect isn't known"


def test_a_wait_that_the_engine_does_not_answer_times_out() -> None:
    release = threading.Event()

    def behave(name: str, request: Any, context: Any) -> bytes:
        release.wait(10)
        return b""

    with run_server(behave) as port, open_calls(port) as calls:
        with pytest.raises(TimedOut):
            calls.wait("WaitForInstanceCompletion", pb.GetInstanceRequest(), 0.2)
        release.set()


def test_a_page_token_that_repeats_ends_the_list() -> None:
    tokens = {None: "1", "1": "2", "2": "2"}
    assert [page for page, _ in pages(lambda token: (token, tokens[token]))] == [None, "1", "2"]
