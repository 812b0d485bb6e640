"""Activities and entity operations that another engine asks for: run here, by the pools of the local engine."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

import grpc
from msgspec import Raw

from durablecli.dts.work_stream import AnswerSender
from durablecli.engine.guarded_logging import log_guarded
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, EntityOperation, WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.escape import escape
from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.failures import Failure, failure_text
from durablecli.protocol.actions import ATTEMPT_TAG, FIRST_ATTEMPT_TAG
from durablecli.protocol.entity_messages import (
    EntityWork,
    make_entity_result,
    read_entity_batch,
    read_entity_request,
)
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_payload_or_null, make_failure, make_payload
from durablecli.registry import Registry

_log = logging.getLogger("durablecli.worker")
_TOO_LARGE = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE})


class ForeignCalls:
    """The calls that run, by their key. All its methods are called in one thread."""

    def __init__(self, registry: Registry, dispatcher: Dispatcher, sender: AnswerSender) -> None:
        self._registry = registry
        self._dispatcher = dispatcher
        self._sender = sender
        self._activities: dict[WorkKey, list[tuple[pb.ActivityRequest, str]]] = {}
        self._entities: dict[WorkKey, _EntityRun] = {}

    @property
    def is_running(self) -> bool:
        """Whether user code runs."""
        return self._dispatcher.in_flight_count > 0

    # ── activities ─────────────────────────────────────────────────────────────────────────────────────────────

    def start_activity(self, request: pb.ActivityRequest, token: str) -> bool:
        """Start an activity. False if it isn't loaded."""
        if self._registry.find_activity(request.name) is None:
            return False
        instance = request.orchestrationInstance
        attempt, first = _read_number(request, ATTEMPT_TAG), _read_number(request, FIRST_ATTEMPT_TAG)
        task = ev.TaskScheduled(request.name, field_payload_or_null(request, "input"), attempt or 1, first)
        # An engine that tells no executions counts ids from 1 in each of them.
        key = instance.instanceId, instance.executionId.value or f"#{token}", request.taskId
        self._activities.setdefault(key, []).append((request, token))
        self._dispatcher.dispatch_activities([ActivityTask(*key, task)])
        return True

    def complete_activity(self, result: ActivityResult) -> None:
        """Answer with the result of an activity."""
        counts = self._dispatcher.complete(result) is not None
        for request, token in self._activities.pop(result.key, ()):
            if not counts:
                self._abandon_activity(token)
                continue
            failure = result.failure
            if failure is not None:
                # The worker that takes the turn of the orchestration warns of it.
                what = f"activity {request.name} (id {request.taskId})"
                _write(
                    logging.DEBUG, request.orchestrationInstance.instanceId, f"{what} failed: {failure_text(failure)}"
                )
            self._answer_activity(request, token, result.result or ev.NULL, failure)

    def _answer_activity(self, request: pb.ActivityRequest, token: str, result: Raw, failure: Failure | None) -> None:
        answer = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            result=None if failure is not None else make_payload(result),
            failureDetails=make_failure(failure),
            completionToken=token,
        )
        self._sender.send(
            self._sender.stub.CompleteActivityTask,
            answer,
            on_refused=partial(self._on_refused_activity, request, token, answer.ByteSize(), failure is None),
        )

    def _on_refused_activity(
        self, request: pb.ActivityRequest, token: str, size: int, is_result: bool, code: grpc.StatusCode, details: str
    ) -> None:
        instance = request.orchestrationInstance.instanceId
        _warn(instance, f"the engine refuses the result of activity {request.name}: {details}")
        if is_result and code in _TOO_LARGE:
            text = f"the engine refuses the result, which has {size:,} bytes: {details}"
            failure = Failure("durablecli.UsageError", text, retryable=False)
            self._answer_activity(request, token, ev.NULL, failure)

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def start_entity(self, request: pb.EntityBatchRequest | pb.EntityRequest, token: str) -> bool:
        """Start the operations of an entity. False if it isn't loaded."""
        is_new = isinstance(request, pb.EntityRequest)
        work = read_entity_request(request) if is_new else read_entity_batch(request)
        if self._registry.find_entity(parse_entity_name(work.entity)) is None:
            return False
        if not work.operations:
            self._answer_entity(_EntityRun(work, token))
            return True
        self._continue_entity(_EntityRun(work, token))
        return True

    def _continue_entity(self, run: _EntityRun) -> None:
        """Run the operations that are left: a batch of the pool ends early after some time."""
        operations = run.remaining_operations()
        key = run.work.entity, f"#{run.token}", operations[-1].n
        self._entities[key] = run
        self._dispatcher.dispatch_entity_batches([EntityBatchTask(*key[:2], run.state, operations, run.at)])

    def complete_entity(self, result: EntityBatchResult, *, is_stopping: bool) -> None:
        """Answer with the results of an entity's operations, once all have run."""
        counts = self._dispatcher.complete(result) is not None
        run = self._entities.pop(result.key, None)
        if run is None:
            return
        run.add(result.event)
        if run.is_complete and counts:
            self._answer_entity(run)
        elif is_stopping or not counts:
            self._abandon_entity(run.token)
        else:
            self._continue_entity(run)

    def _answer_entity(self, run: _EntityRun) -> None:
        for operation, result in zip(run.work.operations, run.results, strict=True):
            if result.failure is not None:
                _warn(run.work.entity, f"operation {operation.name} failed: {failure_text(result.failure)}")
        answer = make_entity_result(run.work, run.results, run.state, run.signals, run.starts, run.token)

        def on_refused(code: grpc.StatusCode, details: str) -> None:
            _warn(run.work.entity, f"the engine refuses the results, which have {answer.ByteSize():,} bytes: {details}")

        self._sender.send(self._sender.stub.CompleteEntityTask, answer, on_refused=on_refused)

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────

    def abandon_all(self) -> None:
        """Give back what hasn't ended."""
        for requests in self._activities.values():
            for _, token in requests:
                self._abandon_activity(token)
        for run in self._entities.values():
            self._abandon_entity(run.token)
        self._activities.clear()
        self._entities.clear()

    def _abandon_activity(self, token: str) -> None:
        request = pb.AbandonActivityTaskRequest(completionToken=token)
        self._sender.send(self._sender.stub.AbandonTaskActivityWorkItem, request)

    def _abandon_entity(self, token: str) -> None:
        request = pb.AbandonEntityTaskRequest(completionToken=token)
        self._sender.send(self._sender.stub.AbandonTaskEntityWorkItem, request)


class _EntityRun:
    """The operations of one request, and their results so far."""

    def __init__(self, work: EntityWork, token: str) -> None:
        self.work = work
        self.token = token
        self.at = datetime.now(UTC)
        self.state = work.state
        self.results: list[ev.EntityOperationResult] = []
        self.signals: list[ev.EntityOperationSignal] = []
        self.starts: list[ev.EntityOperationStart] = []

    @property
    def is_complete(self) -> bool:
        return len(self.results) == len(self.work.operations)

    def remaining_operations(self) -> list[EntityOperation]:
        """The operations that have no result yet, numbered from 1. Signals have results too: they may have failed."""
        numbered = enumerate(self.work.operations, 1)
        return [EntityOperation(n, each.name, each.input, True) for n, each in numbered if n > len(self.results)]

    def add(self, batch: ev.EntityBatch) -> None:
        """Add the results of a batch."""
        self.results += batch.results
        self.signals += batch.signals
        self.starts += batch.starts
        self.state = ev.ABSENT if batch.deleted else batch.state or self.state


def _read_number(request: pb.ActivityRequest, tag: str) -> int | None:
    text = request.tags.get(tag, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _warn(instance: str, text: str) -> None:
    _write(logging.WARNING, instance, text)


def _write(level: int, instance: str, text: str) -> None:
    log_guarded(_log.log, level, "%s: %s", escape(instance), escape(text.partition("\n")[0]))
