"""Forks: a new instance begins with the records of another one, in one commit, and continues from there."""

from __future__ import annotations

from msgspec.structs import replace

from durablecli.engine.commit_builder import MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS
from durablecli.engine.event_size import estimate_size
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.schedule_notices import notify_schedule
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.errors import WrongState
from durablecli.limits import MIB
from durablecli.model import events as ev
from durablecli.model.schedule_options import RUN_STARTED
from durablecli.replay.fork_plan import ForkPlan, plan_fork
from durablecli.store.inbox.messages import Message, MessageItem


class ForkHandler:
    """Starts instances as forks of others."""

    def __init__(self, shared: SharedParts, turn_runner: TurnRunner) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._tracing = shared.options.tracing
        self._turn_runner = turn_runner
        self._applier = turn_runner.applier

    def fork(self, message: Message, item: MessageItem) -> str | None:
        """Begin a fork. Returns why it can't be, or None."""
        assert item.fork_of is not None
        source = self._instances.get(item.fork_of.instance)
        if source is None or source.runtime_state.execution != item.fork_of.execution:
            return f"{item.fork_of.instance} has a new execution by now, or is gone"
        records = self._instances.read_records(source)
        if records is None:
            return f"{item.fork_of.instance} is quarantined"
        try:
            plan = plan_fork(records, item.fork_of.n, item.instance, self._cycle.builder.execution)
        except WrongState as error:
            return str(error)
        if len(plan.records) > MAX_COMMIT_RECORDS or _estimate_bytes(plan) > MAX_COMMIT_BYTES:
            return (
                f"the history of {item.fork_of.instance} before record {item.fork_of.n} is larger than a commit "
                f"({MAX_COMMIT_RECORDS:,} records, {MAX_COMMIT_BYTES // MIB} MiB)"
            )
        self._begin(message, item, plan)
        return None

    def _begin(self, message: Message, item: MessageItem, plan: ForkPlan) -> None:
        instance = self._add(item.instance)
        first, *rest = plan.records
        assert isinstance(first.event, ev.ExecutionStarted)
        trace = self._tracing.make_root(first.event.name) if self._tracing is not None else None
        started = replace(first.event, message=message.message, trace=trace)
        for record in (ev.Record(first.n, first.at, started), *rest):
            self._cycle.builder.record(instance, record)
        notify_schedule(self._cycle, started, RUN_STARTED)
        if plan.is_suspended:
            self._applier.record_event(instance, ev.ExecutionResumed("forked"))
        self._continue(instance, plan)

    def _add(self, id: str) -> CachedInstance:
        execution = self._cycle.builder.execution
        instance = self._instances.get_cached(id) or self._instances.add(id, execution)
        instance.reset(execution, keep_turns=True)
        return instance

    def _continue(self, instance: CachedInstance, plan: ForkPlan) -> None:
        """Complete the last turn of the copied records, and send out what is open after them."""
        instance.incomplete = True
        self._instances.incomplete_turns.add(instance.id)
        self._cycle.builder.mark_continued(instance, True)
        self._turn_runner.restore(instance)
        for n, called in plan.calls:
            self._applier.send_operation(instance, n, called)
        for n, created in plan.children:
            origin = ev.Origin(instance.id, instance.runtime_state.execution, n)
            self._turn_runner.restart_child(created, origin)


def _estimate_bytes(plan: ForkPlan) -> int:
    return sum(estimate_size(record.event) for record in plan.records)
