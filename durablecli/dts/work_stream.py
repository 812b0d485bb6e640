"""The stream of work that another engine sends, and the answers to it: both survive a lost connection."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf.empty_pb2 import Empty

from durablecli.dts.calls import first_line
from durablecli.errors import DurableError
from durablecli.escape import escape
from durablecli.protocol.generated import pb, stubs
from durablecli.protocol.work_items import SESSIONS_METADATA

_HELLO_TIMEOUT = 10.0
_ANSWER_TIMEOUT = 30.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
"""Errors of the connection, or of the moment."""
_TOO_LARGE = re.compile("larg|size", re.IGNORECASE)
DENIED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


class Connected(NamedTuple):
    """The engine sends work from now on."""


class Disconnected(NamedTuple):
    """The connection was lost, or couldn't be made. It is tried again."""

    reason: str
    code: grpc.StatusCode | None = None


StreamEvent = pb.WorkItem | Connected | Disconnected


def _make_stub(channel: grpc.Channel) -> Any:
    return stubs.TaskHubSidecarServiceStub(channel)  # type: ignore[no-untyped-call]


class WorkStream:
    """Reads the stream in a thread of its own, and connects again with growing pauses when it breaks."""

    def __init__(
        self, channel: grpc.Channel, request: pb.GetWorkItemsRequest, receive: Callable[[StreamEvent], None]
    ) -> None:
        self._stub = _make_stub(channel)
        self._request = request
        self._receive = receive
        self._stopping = threading.Event()
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="durable-work-stream", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more work."""
        self._stopping.set()
        if (call := self._call) is not None:
            call.cancel()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            lost = Disconnected("the engine has closed the stream")
            try:
                self._stub.Hello(Empty(), timeout=_HELLO_TIMEOUT)
                self._call = self._stub.GetWorkItems(self._request, metadata=((SESSIONS_METADATA, "1"),))
                self._receive(Connected())
                pause = _FIRST_PAUSE
                if self._stopping.is_set():
                    self._call.cancel()
                for item in self._call:
                    self._receive(item)
            except grpc.RpcError as error:
                lost = Disconnected(describe_error(error), error.code())
            except DurableError as error:  # the file of the token, which may be back soon
                lost = Disconnected(str(error))
            if self._stopping.is_set():
                return
            self._receive(lost)
            self._stopping.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that workers don't return at once
            pause = min(pause * 2, _LONGEST_PAUSE)


def describe_error(error: grpc.RpcError) -> str:
    """Return the reason of a failed call, on one line."""
    code, details = error.code(), first_line(error.details())
    name = code.name.lower().replace("_", " ")
    if code is grpc.StatusCode.UNAVAILABLE or code in DENIED:
        return escape(details or name)
    return escape(f"{name}: {details}" if details else name)


class AnswerSender:
    """Sends answers without waiting for them, again and again until the engine takes or refuses them.

    `in_flight` counts those that are under way.
    """

    def __init__(self, channel: grpc.Channel, schedule: Callable[[float, Callable[[], None]], None]) -> None:
        """`schedule` calls a function in the worker's thread after some seconds; it may be called from any thread."""
        self.stub = _make_stub(channel)
        self._schedule = schedule
        self._guard = threading.Lock()
        self.in_flight = 0

    def send(
        self,
        method: Any,
        message: Any,
        on_taken: Callable[[], None] | None = None,
        on_refused: Callable[[grpc.StatusCode, str], None] | None = None,
    ) -> None:
        """Call a method of the stub. What follows is called in the worker's thread."""
        with self._guard:
            self.in_flight += 1
        self._attempt(method, message, on_taken, on_refused, _FIRST_PAUSE)

    def _attempt(self, method: Any, message: Any, on_taken: Any, on_refused: Any, pause: float) -> None:
        call = method.future(message, timeout=_ANSWER_TIMEOUT)

        def on_done(done: Any) -> None:
            code = done.code()
            if code in _TRANSIENT or _is_busy(code, done.details()):
                again = min(pause * 2, _LONGEST_PAUSE)
                self._schedule(pause, lambda: self._attempt(method, message, on_taken, on_refused, again))
                return
            with self._guard:
                self.in_flight -= 1
            if code is grpc.StatusCode.OK:
                self._schedule(0.0, on_taken or _do_nothing)
            elif on_refused is not None:
                details = " ".join((done.details() or "").split())
                self._schedule(0.0, lambda: on_refused(code, escape(details)))
            else:
                self._schedule(0.0, _do_nothing)

        call.add_done_callback(on_done)


def _is_busy(code: grpc.StatusCode, details: str | None) -> bool:
    """Whether an engine takes no more calls at the moment. It says the same code, in other words, of a message that is
    too large."""
    return code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE.search(details or "") is None


def _do_nothing() -> None:
    """Wake the worker's thread."""
