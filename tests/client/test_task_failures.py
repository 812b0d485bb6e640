"""The failed tasks of an instance, equal ones together."""

from __future__ import annotations

from datetime import UTC, datetime

from durablecli.cli.failure_text import describe_task_failures
from durablecli.client.task_failures import TaskFailures, group_task_failures
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.traceback_text import SourceLine

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
LINE = SourceLine("/app/tour.py", 41, "visit")


def _failure(message: str, line: int = 41, type: str = "builtins.ValueError") -> Failure:
    return Failure(type, message, (), f'Traceback:\n  File "/app/tour.py", line {line}, in visit\n    x\n{type}\n')


def _records(*events: ev.AnyEvent) -> list[ev.Record]:
    return [ev.Record(n, AT, event) for n, event in enumerate(events, 1)]


def _group(*events: ev.AnyEvent) -> list[tuple[int, str, int]]:
    return [(group.count, group.text, group.id) for group in group_task_failures(_records(*events))]


def test_equal_failures_are_counted_and_the_most_frequent_comes_first() -> None:
    errors = [_failure("a"), *[_failure("b", 7)] * 3, *[_failure("no", type="app.Refused")] * 2]
    groups = group_task_failures(
        _records(*[ev.TaskScheduled("visit")] * 6, *(ev.TaskFailed(n, error) for n, error in enumerate(errors, 1)))
    )
    seven = SourceLine("/app/tour.py", 7, "visit")
    assert groups == (
        TaskFailures(3, "activity", "visit", "ValueError", "b", seven, 2, traceback=errors[1].traceback),
        TaskFailures(2, "activity", "visit", "app.Refused", "no", LINE, 5, traceback=errors[4].traceback),
        TaskFailures(1, "activity", "visit", "ValueError", "a", LINE, 1, traceback=errors[0].traceback),
    )


def test_the_example_of_a_group_is_its_first_call_in_whatever_order_they_fail() -> None:
    scheduled = [ev.TaskScheduled("visit")] * 3
    assert _group(*scheduled, *(ev.TaskFailed(n, _failure("a")) for n in (3, 1, 2))) == [(3, "ValueError: a", 1)]


def test_many_texts_at_one_line_are_one_group() -> None:
    scheduled = [ev.TaskScheduled("visit")] * 9
    three = [ev.TaskFailed(n, _failure(f"city {n % 3}")) for n in range(1, 10)]
    assert _group(*scheduled, *three) == [
        (3, "ValueError: city 1", 1),
        (3, "ValueError: city 2", 2),
        (3, "ValueError: city 0", 3),
    ]
    nine = [ev.TaskFailed(n, _failure(f"city {n}")) for n in range(1, 10)]
    (group,) = group_task_failures(_records(*scheduled, *nine))
    assert (group.count, group.differ, group.message) == (9, True, "city 1")


def test_an_attempt_that_is_retried_does_not_count() -> None:
    first = (ev.TaskScheduled("visit"), ev.TaskFailed(1, _failure("a")))
    waiting = (*first, ev.TimerCreated(AT, retry_of=1))
    again = (*waiting, ev.TimerFired(3), ev.TaskScheduled("visit", attempt=2, retry_of=1))
    assert _group(*first) == [(1, "ValueError: a", 1)]
    assert _group(*waiting) == []
    assert _group(*again) == []
    assert _group(*again, ev.TaskFailed(5, _failure("b"))) == [(1, "ValueError: b", 5)]


def test_what_a_rewind_forgets_does_not_count() -> None:
    scheduled = ev.TaskScheduled("visit")
    failed = (scheduled, scheduled, ev.TaskFailed(1, _failure("a")), ev.TaskFailed(2, _failure("b")))
    assert _group(*failed, ev.ExecutionRewound(3, forgotten=(3,))) == [(1, "ValueError: b", 2)]
    assert _group(*failed, ev.ExecutionRewound(3, forgotten=(3, 4))) == []
    assert _group(*failed, ev.ExecutionRewound(3, forgotten=(3,), void=(2,))) == []


def test_children_and_entities_are_named_by_their_ids() -> None:
    groups = group_task_failures(
        _records(
            ev.SubOrchestrationInstanceCreated("child", "a:1"),
            ev.EntityOperationCalled("@counter@a", "add"),
            ev.SubOrchestrationInstanceFailed(1, _failure("a")),
            ev.EntityOperationFailed(2, _failure("b")),
        )
    )
    assert [(each.kind, each.name, each.target) for each in groups] == [
        ("child", "child", "a:1"),
        ("entity", "add", "@counter@a"),
    ]


def test_a_failed_call_has_the_name_that_the_orchestrator_gave_to_it() -> None:
    records = _records(
        ev.TaskScheduled("visit", label="Tokyo"),
        ev.SubOrchestrationInstanceCreated("tour", "c", label="the rest"),
        ev.TaskFailed(1, _failure("a")),
        ev.SubOrchestrationInstanceFailed(2, _failure("b")),
    )
    groups = group_task_failures(records)
    assert [group.label for group in groups] == ["Tokyo", "the rest"]
    lines = list(describe_task_failures(groups))
    assert lines[1].endswith("activity visit, id 1 [Tokyo]")
    assert lines[3].endswith("sub-orchestration tour, id 2 [the rest], c")
