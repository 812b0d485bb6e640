"""A hub in memory whose code runs in a worker of the Python SDK, without connections: every message is translated.

It keeps records and runtime states as the engine does, and knows as little else of it as a test needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask.worker import TaskHubGrpcWorker
from msgspec import Raw
from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.protocol.activity_answers import read_activity_answer
from durablecli.protocol.completion_token import decode_token
from durablecli.protocol.entity_answers import read_entity_answer
from durablecli.protocol.generated import pb
from durablecli.protocol.history_events import make_history
from durablecli.protocol.turn_answers import read_turn_answer
from durablecli.protocol.work_items import make_work_item
from durablecli.replay.remote_work import (
    ActivityKey,
    EntityBatchKey,
    ParentName,
    RemoteActivity,
    RemoteEntityBatch,
    RemoteOperation,
    RemoteTurn,
    TurnKey,
)
from durablecli.replay.rewind import plan_rewind
from durablecli.replay.runtime_state import RuntimeState, fold_history

START = datetime(2026, 1, 1, tzinfo=UTC)
_LOGGER = logging.getLogger(__name__)
_FAILED = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed, ev.EntityOperationFailed)


class RemoteInstance:
    """One instance: the records of its execution, and its runtime state."""

    def __init__(self, started: ev.ExecutionStarted) -> None:
        self.records: list[ev.Record] = []
        self.state = RuntimeState(keep_turns=True)
        self.started = started

    def add(self, event: ev.AnyEvent, at: datetime) -> int:
        """Record an event, and return its number."""
        record = ev.Record(len(self.records) + 1, at, event)
        self.records.append(record)
        self.state.apply(record)
        return record.n


class WorkerLoop:
    """Runs orchestrations in a worker. With `together` a turn gets all outcomes that there are, and else one."""

    def __init__(self, worker: TaskHubGrpcWorker, *, together: bool = False) -> None:
        self._worker = worker
        self._together = together
        self._answer: Any = None
        self._executions = 0
        self.now = START
        self.instances: dict[str, RemoteInstance] = {}
        self.entities: dict[str, Raw] = {}
        self.locks: dict[str, tuple[str, int]] = {}
        self.requests: list[pb.OrchestratorRequest] = []
        self.histories: dict[str, list[list[ev.Record]]] = {}
        """The records of executions that have continued as new, by instance."""

    # ── the stub that the worker answers to ──────────────────────────────────────────────────────────────────────

    def _complete(self, answer: Any) -> None:
        self._answer = type(answer).FromString(answer.SerializeToString())

    CompleteOrchestratorTask = CompleteActivityTask = CompleteEntityTask = _complete

    def _run(self, execute: Callable[..., object], request: Any, token: str) -> Any:
        self._answer = None
        execute(type(request).FromString(request.SerializeToString()), self, token)
        assert self._answer is not None, "the worker hasn't answered"
        assert self._answer.completionToken == token
        return self._answer

    # ── what clients do ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str, input: bytes = b"null", id: str = "i", **fields: Any) -> RemoteInstance:
        """Start an instance; its first arrival is held."""
        self._executions += 1
        started = ev.ExecutionStarted(id, f"{self._executions:x}", name, Raw(input), held=True, **fields)
        instance = self.instances[id] = RemoteInstance(started)
        instance.add(started, self.now)
        return instance

    def raise_event(self, id: str, name: str, input: bytes = b"null") -> None:
        """Raise an event, which is held."""
        self.instances[id].add(ev.EventRaised(name, Raw(input), held=True), self.now)

    def rewind(self, id: str, reason: str = "again") -> None:
        """Rewind a failed instance, and the failed children that made it fail."""
        instance = self.instances[id]
        plan = plan_rewind(instance.state)
        instance.add(plan.to_event(reason), self.now)
        for _, created in plan.children:
            self.rewind(created.instance, reason)

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, id: str = "i") -> ev.ExecutionCompleted:
        """Run until nothing is left to do; return how the instance has ended."""
        for _ in range(500):
            if not self._step():
                break
        end = self.instances[id].records[-1].event
        assert isinstance(end, ev.ExecutionCompleted), f"{id} waits: {self.instances[id].state.open_decisions}"
        return end

    def _step(self) -> bool:
        self.now += timedelta(seconds=1)
        progress = False
        for instance in list(self.instances.values()):
            if not instance.state.ended and (instance.state.held or instance.state.incomplete):
                self.take_turn(instance)
                progress = True
        for instance in list(self.instances.values()):
            for n, decision in list(instance.state.open_decisions.items()):
                answered = n in instance.state.open_decisions and self._answer_decision(instance, n, decision)
                progress |= answered
                if answered and not self._together:
                    break
        return progress

    def take_turn(self, instance: RemoteInstance) -> None:
        """Have the worker take a turn with all that is held, and record its decisions."""
        state = instance.state
        held, started = tuple(state.held), state.started
        first, upto = (held[0].n, held[-1].n) if held else (0, state.last_n)
        key = TurnKey(state.instance, state.execution, first, upto, self.now)
        parent = None
        if started.parent is not None:
            created: Any = self.instances[started.parent.instance].records[started.parent.n - 1].event
            parent = ParentName(self.instances[started.parent.instance].started.name, created.id)
        assert state.turns is not None
        item = make_work_item(RemoteTurn(key, started, tuple(state.turns), held, parent))
        self.requests.append(item.orchestratorRequest)
        answer = self._run(self._worker._execute_orchestrator, item.orchestratorRequest, item.completionToken)
        key_again = decode_token(answer.completionToken)
        assert isinstance(key_again, TurnKey)
        self._record_turn(instance, read_turn_answer(answer, key_again))

    def _record_turn(self, instance: RemoteInstance, answer: Any) -> None:
        instance.add(ev.OrchestratorStarted(answer.key.upto, answer.key.time), self.now + timedelta(milliseconds=5))
        if answer.custom_status is not None and answer.custom_status != instance.state.custom_status:
            instance.add(ev.CustomStatusSet(answer.custom_status), self.now)
        for decision in answer.decisions:
            event = decision
            if isinstance(decision, ev.EntityUnlockSent):
                event = replace(decision, lock=_find_lock(instance, decision.request))
                self.locks.pop(decision.entity or "", None)
            elif isinstance(decision, ev.ExecutionCompleted) and decision.status == "Failed":
                event = replace(decision, causes=_find_causes(instance.state))
            n = instance.add(event, self.now)
            self._carry_out(instance, n, event, answer.carried)

    def _carry_out(self, instance: RemoteInstance, n: int, event: Any, carried: Any) -> None:
        origin = ev.Origin(instance.state.instance, instance.state.execution, n)
        match event:
            case ev.SubOrchestrationInstanceCreated():
                raw = bytes(event.input)
                self.start(event.name, raw, event.instance, version=event.version, parent=origin, depth=1)
            case ev.EventSent() if event.instance in self.instances:
                self.raise_event(event.instance, event.name, bytes(event.input))
            case ev.EntityOperationSignaled():
                self._operate(event, None)
            case ev.ContinueAsNew():
                self.histories.setdefault(instance.state.instance, []).append(instance.records)
                old = instance.state.started
                self.start(old.name, bytes(event.input), old.instance, version=event.version or old.version)
                for each in carried:
                    self.raise_event(old.instance, each.name, bytes(each.input))
            case ev.ExecutionCompleted() if instance.state.started.parent is not None:
                parent = instance.state.started.parent
                answer = (
                    ev.SubOrchestrationInstanceCompleted(parent.n, event.result or ev.NULL, held=True)
                    if event.failure is None
                    else ev.SubOrchestrationInstanceFailed(parent.n, event.failure, held=True)
                )
                self.instances[parent.instance].add(answer, self.now)

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer_decision(self, instance: RemoteInstance, n: int, decision: Any) -> bool:
        state = instance.state
        match decision:
            case ev.TaskScheduled():
                instance.add(self._call_activity(ActivityKey(state.instance, state.execution, n), decision), self.now)
            case ev.TimerCreated():
                self.now = max(self.now, decision.fire_at)
                instance.add(ev.TimerFired(n, held=True), self.now)
            case ev.EntityOperationCalled():
                result = self._operate(decision, n)
                outcome = (
                    ev.EntityOperationFailed(n, result, held=True)
                    if isinstance(result, Failure)
                    else ev.EntityOperationCompleted(n, result, held=True)
                )
                instance.add(outcome, self.now)
            case ev.EntityLockRequested() if not any(each in self.locks for each in decision.entities):
                self.locks |= dict.fromkeys(decision.entities, (state.instance, n))
                instance.add(ev.EntityLockGranted(n, held=True), self.now)
            case _:
                return False
        return True

    def _call_activity(self, key: ActivityKey, task: ev.TaskScheduled) -> ev.TaskCompleted | ev.TaskFailed:
        item = make_work_item(RemoteActivity(key, task, task.version))
        assert item.activityRequest.taskId == task.id
        response = self._run(self._worker._execute_activity, item.activityRequest, item.completionToken)
        answer = read_activity_answer(response, key)
        if answer.failure is not None:
            return ev.TaskFailed(key.n, answer.failure, held=True)
        return ev.TaskCompleted(key.n, answer.result, held=True)

    def _operate(self, call: Any, n: int | None) -> Any:
        """Run one operation of an entity, and return its result or its failure."""
        key = EntityBatchKey(call.entity, "e", n or 0)
        operation = RemoteOperation(n or 0, call.name, call.input, n is not None)
        batch = RemoteEntityBatch(key, self.entities.get(call.entity, ev.ABSENT), (operation,))
        item = make_work_item(batch)
        response = self._run(self._worker._execute_entity_batch, item.entityRequest, item.completionToken)
        answer = read_entity_answer(response, key)
        self.entities[call.entity] = answer.state
        for signal in answer.signals:
            self._operate(signal, None)
        for start in answer.starts:
            self.start(start.name, bytes(start.input), start.instance)
        return answer.results[0].failure or answer.results[0].result

    # ── what the records say ─────────────────────────────────────────────────────────────────────────────────────

    def history_kinds(self, id: str = "i") -> list[str | None]:
        """The kinds of events in the history of an instance, as a client reads it."""
        state = fold_history(self.instances[id].records)
        return [event.WhichOneof("eventType") for event in make_history(state)]


def _find_lock(instance: RemoteInstance, request: str | None) -> int:
    return next(
        record.n
        for record in instance.records
        if isinstance(record.event, ev.EntityLockRequested) and record.event.request == request
    )


def _find_causes(state: RuntimeState) -> tuple[int, ...]:
    return tuple(turn.arrival.n for turn in state.turns or () if isinstance(turn.arrival.event, _FAILED))


def make_worker(*functions: Any) -> TaskHubGrpcWorker:
    """Return a worker that runs these functions, by name: `o_…` is an orchestrator, a class an entity."""
    worker = TaskHubGrpcWorker(logger=_LOGGER)
    for function in functions:
        if isinstance(function, type):
            worker.add_entity(function)
        elif function.__name__.startswith("o_"):
            worker.add_orchestrator(function)
        else:
            worker.add_activity(function)
    return worker
