"""The worker of another engine: takes work from its stream, runs it with the functions of the app, and answers.

One thread takes everything from one queue: work, results of the pools, and answers that the engine has taken. It also
runs the turns, as the local engine does. Nothing is kept on disk: what a worker had when it is killed, the engine gives
to another one.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple

import grpc

from durablecli.config import Config
from durablecli.dts.address import EngineAddress
from durablecli.dts.calls import denied_error
from durablecli.dts.foreign_calls import ForeignCalls
from durablecli.dts.turn_requests import TurnOutcome, TurnRequests
from durablecli.dts.work_requests import make_work_requests
from durablecli.dts.work_stream import DENIED, AnswerSender, Connected, Disconnected, StreamEvent, WorkStream
from durablecli.engine.guarded_logging import log_guarded
from durablecli.engine.log_capture import LogCapture
from durablecli.engine.watchdog import CurrentTurn
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.escape import escape
from durablecli.model.ids import new_id
from durablecli.model.versions import VersionPolicy
from durablecli.protocol.generated import pb
from durablecli.registry import Registry

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds after which work that can't be done here is given back: not at once, or it would come back at once."""
_MAX_PAUSES = 10_000
_MAINTAIN_INTERVAL = 1.0
_ANSWER_TIME = 2.0
"""Seconds for the last answers when the worker stops."""
_log = logging.getLogger("durablecli.worker")


class _Stop(NamedTuple):
    """Asks the worker to stop."""


_Result = ActivityResult | EntityBatchResult
_Input = StreamEvent | _Result | _Stop | tuple[float, Callable[[], None]]


class EngineWorker:
    """Runs the functions of a registry for the engine at an address, until it is stopped."""

    def __init__(
        self,
        channel: grpc.Channel,
        address: EngineAddress,
        registry: Registry,
        config: Config,
        app: AppLocation,
        echo: Callable[[str], None],
        on_first_connection: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._registry = registry
        self._config = config
        self._echo = echo
        self._on_first_connection: Callable[[], None] | None = on_first_connection
        self._inputs: SimpleQueue[_Input] = SimpleQueue()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._pauses: Counter[str] = Counter()
        self._warned: dict[str, str] = {}
        self._is_stopping = False
        self._is_connected: bool | None = None
        self.current_turn = CurrentTurn()
        self.log_capture = LogCapture(report_instances=True)
        versions = VersionPolicy(config.default_version, config.version_match, config.version_failure == "fail")
        self._turns = TurnRequests(
            registry,
            versions,
            config.limits.payload,
            self.current_turn,
            fail_on_nondeterminism=config.on_nondeterminism == "fail",
            sessions=config.concurrency.live_instances,
        )
        self._sender = AnswerSender(channel, self._schedule)
        self._dispatcher = Dispatcher(registry, self._inputs.put, config.concurrency, app, config.limits.payload)
        self._calls = ForeignCalls(registry, self._dispatcher, self._sender)
        requests = make_work_requests(registry, config)
        self._streams = [
            WorkStream(channel, request, self._inputs.put if n == 0 else self._take_quietly)
            for n, request in enumerate(requests)
        ]

    def stop(self) -> None:
        """Ask the worker to stop. May be called from a signal handler, and from any thread."""
        self._inputs.put(_Stop())

    def run(self) -> None:
        """Work until `stop` is called; then let running activities finish. Raises NoPermission if the engine does."""
        for stream in self._streams:
            stream.start()
        try:
            while not self._is_stopping:
                self._step(_MAINTAIN_INTERVAL)
                self._dispatcher.maintain()
            self._drain()
        finally:
            self._stop_streams()
            self._dispatcher.stop()
            self._registry.close_resources()

    def _stop_streams(self) -> None:
        for stream in self._streams:
            stream.stop()

    def _take_quietly(self, item: StreamEvent) -> None:
        """Take the items of a further stream. Only the first one reports on the connection."""
        if isinstance(item, pb.WorkItem):
            self._inputs.put(item)

    # ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, wait: float) -> None:
        """Handle one input, and everything that is due."""
        if self._due:
            wait = min(wait, max(0.0, self._due[0][0] - monotonic()))
        try:
            item = self._inputs.get(timeout=wait)
        except Empty:
            pass
        else:
            self._handle(item)
        while self._due and self._due[0][0] <= monotonic():
            heapq.heappop(self._due)[2]()

    def _schedule(self, seconds: float, call: Callable[[], None]) -> None:
        self._inputs.put((seconds, call))

    def _handle(self, item: _Input) -> None:
        if isinstance(item, pb.WorkItem):
            self._take(item)
        elif isinstance(item, ActivityResult):
            self._calls.complete_activity(item)
        elif isinstance(item, EntityBatchResult):
            self._calls.complete_entity(item, is_stopping=self._is_stopping)
        elif isinstance(item, _Stop):
            self._is_stopping = True
        elif isinstance(item, Connected | Disconnected):
            self._on_connection(item)
        else:
            seconds, call = item
            heapq.heappush(self._due, (monotonic() + seconds, next(self._count), call))

    def _on_connection(self, event: Connected | Disconnected) -> None:
        """Print one line when the connection is lost, and one when it is there again."""
        is_connected = isinstance(event, Connected)
        if isinstance(event, Disconnected) and self._is_connected is None and event.code in DENIED:
            raise denied_error(self._address, event.code, event.reason)
        if is_connected == self._is_connected:
            return
        if isinstance(event, Disconnected):
            lost = "can't connect to" if self._is_connected is None else "lost the connection to"
            self._echo(f"{lost} {self._address}, trying again: {event.reason}")
        else:
            self._echo(f"connected to {self._address}")
            if self._on_first_connection is not None:
                self._on_first_connection()
                self._on_first_connection = None
        self._is_connected = is_connected

    def _drain(self) -> None:
        """Take nothing more, and let what runs finish, for as long as the settings allow."""
        until = monotonic() + self._config.drain.total_seconds()
        self._stop_streams()
        self._dispatcher.pause()
        while (self._calls.is_running or not self._inputs.empty()) and monotonic() < until:
            self._step(min(0.1, max(0.0, until - monotonic())))
        self._calls.abandon_all()
        for _, _, call in sorted(self._due):  # work that was put off is given back now
            call()
        self._due.clear()
        until = monotonic() + _ANSWER_TIME
        while self._sender.in_flight and monotonic() < until:
            self._step(min(0.05, max(0.0, until - monotonic())))

    # ── work ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, item: pb.WorkItem) -> None:
        kind = item.WhichOneof("request")
        if kind is None or kind == "healthPing":
            return
        if self._is_stopping:
            self._abandon(item)
            return
        request = getattr(item, kind)
        try:
            if kind == "orchestratorRequest":
                self._take_turn(item, request)
            elif kind == "activityRequest":
                if not self._calls.start_activity(request, item.completionToken):
                    self._put_off(
                        item, request.orchestrationInstance.instanceId, f"activity '{request.name}' isn't loaded"
                    )
            elif not self._calls.start_entity(request, item.completionToken):
                self._put_off(item, request.instanceId, "its entity isn't loaded")
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this work alone
            self._put_off(item, _instance_of(item), f"its work can't be read: {type(error).__name__}: {error}")

    def _take_turn(self, item: pb.WorkItem, request: pb.OrchestratorRequest) -> None:
        outcome = self._turns.run(request, item.completionToken)
        if outcome.response is None:
            self._put_off(item, outcome.instance, outcome.reason)
            return
        self._pauses.pop(outcome.instance, None)
        self._warned.pop(outcome.instance, None)

        def on_refused(code: grpc.StatusCode, details: str) -> None:
            self._put_off(item, outcome.instance, f"the engine refuses the answer to its turn: {details or code.name}")

        self._sender.send(
            self._sender.stub.CompleteOrchestratorTask,
            outcome.response,
            on_taken=lambda: self._publish(outcome),
            on_refused=on_refused,
        )

    def _publish(self, outcome: TurnOutcome) -> None:
        """Print and log the lines of a turn, now that the engine has its answer."""
        self.log_capture.emit(outcome.log_lines)

    def _put_off(self, item: pb.WorkItem, instance: str, reason: str) -> None:
        """Give work back after a pause, which grows each time, and say why, once for each reason."""
        if self._warned.get(instance) != reason:
            self._warned[instance] = reason
            log_guarded(_log.warning, "%s can't run here: %s", escape(instance), escape(reason.replace("\n", "; ")))
        pause = min(_FIRST_PAUSE * 2 ** self._pauses[instance], _LONGEST_PAUSE)
        self._pauses[instance] = min(self._pauses[instance] + 1, 10)
        if len(self._pauses) > _MAX_PAUSES:
            self._pauses.clear()
            self._warned.clear()
        self._schedule(pause, lambda: self._abandon(item))

    def _abandon(self, item: pb.WorkItem) -> None:
        token, stub = item.completionToken, self._sender.stub
        if item.HasField("orchestratorRequest"):
            request = pb.AbandonOrchestrationTaskRequest(completionToken=token)
            self._sender.send(stub.AbandonTaskOrchestratorWorkItem, request)
        elif item.HasField("activityRequest"):
            request = pb.AbandonActivityTaskRequest(completionToken=token)
            self._sender.send(stub.AbandonTaskActivityWorkItem, request)
        else:
            request = pb.AbandonEntityTaskRequest(completionToken=token)
            self._sender.send(stub.AbandonTaskEntityWorkItem, request)


def make_worker_id() -> str:
    """Return a name for this worker that no other one has: the host, the process, and a random part."""
    return f"{socket.gethostname()},{os.getpid()},{new_id()}"


def _instance_of(item: pb.WorkItem) -> str:
    if item.HasField("activityRequest"):
        return item.activityRequest.orchestrationInstance.instanceId
    return getattr(item, item.WhichOneof("request") or "orchestratorRequest").instanceId
