"""The failed tasks of an instance, equal failures as one: of a thousand activities with three errors, three rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from durablecli.model import events as ev
from durablecli.model.failure_report import FailureCause, format_traceback, make_cause
from durablecli.model.failures import Failure, error_text
from durablecli.model.traceback_text import SourceLine

_MAX_MESSAGES = 3
"""If exceptions of one type at one line have more different messages than this, they form one group."""
FailableCall = ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.EntityOperationCalled
CALL_KINDS: dict[type[ev.AnyEvent], str] = {
    ev.TaskScheduled: "activity",
    ev.SubOrchestrationInstanceCreated: "child",
    ev.EntityOperationCalled: "entity",
}


class TaskFailures(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tasks of an instance that have failed in the same way, and aren't retried.

    `kind` is activity, child or entity, and `name` that of the function or operation. `type`, `message` and `at` are
    those of the first one, as in FailureReport, and so is `traceback`; `differ` says that the messages of the others
    are different. `id` is the number of its decision, `label` the name that the orchestrator gave to the call, and
    `target` the instance id of the sub-orchestration or the entity.
    """

    count: int
    kind: str
    name: str
    type: str
    message: str
    at: SourceLine | None
    id: int
    target: str | None = None
    differ: bool = False
    traceback: str = ""
    label: str | None = None

    @property
    def text(self) -> str:
        """`ValueError: empty city`."""
        return error_text(self.type, self.message)


def group_task_failures(records: Iterable[ev.Record]) -> tuple[TaskFailures, ...]:
    """Group the failed tasks of a history, the most frequent failure first. Retried attempts don't count."""
    causes: dict[tuple[str, str, str], FailureCause] = {}  # equal failures are described once
    found: list[TaskFailures] = []
    failures: dict[int, Failure] = {}
    for n, call, failure in find_failed_calls(records):
        same = (failure.type, failure.message, failure.traceback)
        cause = causes.get(same)
        if cause is None or failure.cause is not None:
            causes[same] = cause = make_cause(failure)
        found.append(_describe(n, call, cause))
        failures[n] = failure
    messages = Counter(place for place, _ in {(_place(each), each.message) for each in found})
    groups: dict[tuple[object, ...], TaskFailures] = {}
    for each in sorted(found, key=lambda one: one.id):
        place = _place(each)
        differ = messages[place] > _MAX_MESSAGES
        key = place if differ else (*place, each.message)
        first = groups.get(key, each)
        count = first.count + 1 if key in groups else 1
        groups[key] = msgspec.structs.replace(first, count=count, differ=differ)
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.id))
    return tuple(msgspec.structs.replace(group, traceback=format_traceback(failures[group.id])) for group in ordered)


def _place(one: TaskFailures) -> tuple[object, ...]:
    at = one.at
    return one.kind, one.name, one.type, at and (at.file, at.line)


def _describe(n: int, call: FailableCall, cause: FailureCause) -> TaskFailures:
    kind, target = CALL_KINDS[type(call)], None
    if not isinstance(call, ev.TaskScheduled):
        target = call.entity if isinstance(call, ev.EntityOperationCalled) else call.instance
    label = None if isinstance(call, ev.EntityOperationCalled) else call.label
    return TaskFailures(1, kind, call.name, cause.type, cause.message, cause.at, n, target, label=label)


def find_failed_calls(records: Iterable[ev.Record]) -> Iterator[tuple[int, FailableCall, Failure]]:
    """Yield the failed calls in the order of their failures: the number of the last attempt, the call, and how it
    failed."""
    calls: dict[int, FailableCall] = {}
    failed: dict[int, tuple[ev.Record, int, Failure]] = {}  # by the number of the first attempt
    for record in records:
        event = record.event
        match event:
            case ev.TaskScheduled() | ev.SubOrchestrationInstanceCreated() | ev.EntityOperationCalled():
                calls[record.n] = event
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                if event.task in calls:
                    failed[_first_attempt(event.task, calls)] = record, event.task, event.failure
            case ev.TimerCreated() if event.retry_of is not None:
                failed.pop(event.retry_of, None)
            case ev.ExecutionRewound():
                undone = {*event.forgotten, *event.void}
                failed = {n: each for n, each in failed.items() if each[0].n not in undone and each[1] not in undone}
    for _, n, failure in failed.values():
        yield n, calls[n], failure


def _first_attempt(n: int, calls: dict[int, FailableCall]) -> int:
    return getattr(calls[n], "retry_of", None) or n
