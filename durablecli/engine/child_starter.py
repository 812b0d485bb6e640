"""Starts sub-orchestrations, and the orchestrations that entities start. Their ids are made in `model/ids.py`."""

from __future__ import annotations

from msgspec.structs import replace

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.shared_parts import SharedParts
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.ids import make_child_id
from durablecli.model.trace_context import make_execution_context
from durablecli.replay import pending

CANCELLED = "cancelled by the orchestrator"
"""The reason that activities and sub-orchestrations get whose calls are cancelled."""


class ChildStarter:
    """Sends children their starts, and parents the answers of children that have ended or can't start.

    Reserving an id keeps it from being taken by a start in the inbox.
    """

    def __init__(self, shared: SharedParts) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._deduplicator = shared.deduplicator
        self._reserve = shared.hub.inbox.reserve_id
        self._max_depth = shared.options.limits.sub_orchestration_depth

    def start(self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated) -> None:
        """Start the child that decision `n` of its parent creates, or answer why it can't start."""
        execution = parent.runtime_state.execution
        if (completed := self._find_completed_attempt(parent, event)) is not None:
            self._cycle.send(parent.id, execution, _make_answer(completed, n))
            return
        started = self.make_start(parent, n, event)
        failure = self.why_not_startable(started)
        if failure is None and event.instance in self._cycle.starting_children:
            failure = _make_id_taken_failure(event.instance)
        if failure is None and event.explicit:
            failure = self.try_reserve(event.instance)
        if failure is not None:
            self._cycle.send(parent.id, execution, ev.SubOrchestrationInstanceFailed(n, failure))
        else:
            self._cycle.starting_children.add(event.instance)
            self._cycle.child_starts[event.instance] = ev.Origin(parent.id, execution, n)
            self._cycle.send(event.instance, None, started)

    def cancel(self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated) -> None:
        """Terminate the child that decision `n` of its parent has created. One whose start is among the deliveries of
        the cycle is recorded, and runs no turn."""
        id, execution = event.instance, parent.runtime_state.execution
        origin, terminated = ev.Origin(parent.id, execution, n), ev.ExecutionTerminated(CANCELLED)
        known = self._instances.get(id)
        if self._cycle.child_starts.get(id) == origin:
            self._cycle.cancelled_starts.add(id)
            self._cycle.send(id, self._cycle.builder.execution, terminated)
        elif known is not None:
            actual = known.runtime_state.started.parent
            if actual == origin or (
                actual is not None
                and (actual.instance, actual.execution) == (parent.id, execution)
                and self._deduplicator.find(parent.id, execution) is not None
            ):
                self._cycle.send(id, known.runtime_state.execution, terminated)
        elif self._instances.is_quarantined(id):
            self._cycle.send(id, None, terminated)

    def make_start(
        self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated
    ) -> ev.ExecutionStarted:
        """The first event of the child that decision `n` of its parent creates. It has the tags of its parent."""
        return ev.ExecutionStarted(
            event.instance,
            self._cycle.builder.execution,
            event.name,
            event.input,
            event.version,
            ev.Origin(parent.id, parent.runtime_state.execution, n),
            depth=parent.runtime_state.started.depth + 1,
            tags=parent.runtime_state.started.tags,
            trace=make_execution_context(parent.runtime_state.started.trace, parent.id, parent.runtime_state.execution),
        )

    def why_not_startable(self, started: ev.ExecutionStarted) -> Failure | None:
        """The reason why a child can't start, if there is one: it would be nested too deep, or its id is taken."""
        if started.depth > self._max_depth:
            return _make_depth_failure(self._max_depth)
        parent = started.parent
        if parent is not None and not self._is_id_available(started.instance, parent.instance):
            return _make_id_taken_failure(started.instance)
        return None

    def _is_id_available(self, id: str, parent: str) -> bool:
        """Whether a child may have this id: it is unused, or that of an earlier child of the same parent that has
        ended."""
        known = self._instances.get(id)
        if known is None:
            return not self._instances.is_quarantined(id)
        origin = known.runtime_state.started.parent
        return known.runtime_state.ended and origin is not None and origin.instance == parent

    def adopt_started(
        self, parent: CachedInstance, record: ev.Record, event: ev.SubOrchestrationInstanceCreated
    ) -> bool:
        """Record a child that was started before a repair truncated this history, under its existing id. If it has
        ended it answers again. False if there is no such child."""
        execution = parent.runtime_state.execution
        child = self._deduplicator.consume_child(parent.id, execution, event)
        if child is None:
            return False
        self._cycle.builder.record(parent, replace(record, event=replace(event, instance=child)))
        known = self._instances.get(child)
        if known is not None and known.runtime_state.ended:
            self._cycle.send(parent.id, execution, pending.child_outcome(known.runtime_state, record.n))
        return True

    def _find_completed_attempt(
        self, parent: CachedInstance, event: ev.SubOrchestrationInstanceCreated
    ) -> CachedInstance | None:
        """An earlier attempt of the same call that was rewound or restarted after it failed, and has completed."""
        if event.retry_of is None:
            return None
        execution = parent.runtime_state.execution
        for m in (event.retry_of, *parent.runtime_state.later_attempts.get(event.retry_of, ())):
            for id in (event.instance, make_child_id(parent.id, execution, m)):
                child = self._instances.get(id)
                if child is None or child.runtime_state.started.parent != ev.Origin(parent.id, execution, m):
                    continue
                if child.runtime_state.status == "Completed":
                    return child
        return None

    def fail_unstartable(self, parent: CachedInstance) -> None:
        """Answer for children that a turn before a crash couldn't start, because their ids were and are taken."""
        execution = parent.runtime_state.execution
        for n, child in pending.children(parent.runtime_state):
            known = self._instances.get(child.instance)
            if self._instances.is_quarantined(child.instance) or child.instance in self._cycle.starting_children:
                continue
            origin = known.runtime_state.started.parent if known is not None else None
            if origin == ev.Origin(parent.id, execution, n):
                continue
            if self._deduplicator.find(parent.id, execution) and origin and origin.instance == parent.id:
                continue  # started by the decision that was here before a repair
            if (completed := self._find_completed_attempt(parent, child)) is not None:
                self._cycle.send(parent.id, execution, _make_answer(completed, n))
                continue
            gone = Failure("durablecli.errors.Conflict", f"instance '{child.instance}' is gone")
            failure = self.why_not_startable(self.make_start(parent, n, child)) or (
                gone if known is None else _make_id_taken_failure(child.instance)
            )
            self._cycle.send(parent.id, execution, ev.SubOrchestrationInstanceFailed(n, failure))

    # ── ids ────────────────────────────────────────────────────────────────────────────────────────────────────

    def reserve_id(self, id: str) -> None:
        """Reserve an id for an orchestration that an entity starts; raises Conflict where an instance that hasn't ended
        has it."""
        known = self._instances.get(id)
        taken = known is not None and (
            not known.runtime_state.ended or known.runtime_state.execution == self._cycle.builder.execution
        )
        if taken or id in self._cycle.starting_children or self._instances.is_quarantined(id):
            raise Conflict(f"instance id '{id}' already exists")
        self._reserve_in_inbox(id)
        self._cycle.starting_children.add(id)

    def try_reserve(self, id: str) -> Failure | None:
        """Reserve an id in the inbox. Returns why that failed: a start waiting there has it."""
        try:
            self._reserve_in_inbox(id)
        except Conflict as error:
            return Failure("durablecli.errors.Conflict", str(error))
        return None

    def _reserve_in_inbox(self, id: str) -> None:
        self._reserve(id)
        self._cycle.builder.reserved_ids.append((id, ""))
        self._cycle.builder.released_ids.append((id, ""))

    # ── answers ────────────────────────────────────────────────────────────────────────────────────────────────

    def answer_parent(self, instance: CachedInstance) -> None:
        """Send the result of an instance that has ended to its parent, if it has one."""
        state = instance.runtime_state
        parent = state.started.parent
        if parent is None:
            return
        n = self._find_creating_decision(parent, instance.id) if self._deduplicator else parent.n
        self._cycle.send(parent.instance, parent.execution, pending.child_outcome(state, n))

    def _find_creating_decision(self, parent: ev.Origin, child: str) -> int:
        """The decision that a child answers: a parent whose history was truncated may have made it a second time."""
        known = self._instances.get(parent.instance)
        if known is None or self._deduplicator.find(parent.instance, parent.execution) is None:
            return parent.n
        return next((n for n, created in pending.children(known.runtime_state) if created.instance == child), parent.n)


def _make_answer(completed: CachedInstance, n: int) -> ev.SubOrchestrationInstanceCompleted:
    return ev.SubOrchestrationInstanceCompleted(n, completed.runtime_state.result or ev.NULL)


def _make_depth_failure(max_depth: int) -> Failure:
    return Failure(
        "builtins.RecursionError",
        f"sub-orchestrations are nested more than {max_depth:,} deep (limits.sub_orchestration_depth in durable.yaml): "
        "does one call itself without end?",
        ("builtins.RuntimeError", "builtins.Exception"),
    )


def _make_id_taken_failure(id: str) -> Failure:
    return Failure("durablecli.errors.Conflict", f"instance id '{id}' already exists")
