"""Rewinds that undo more than the failure that ended the execution: all failed calls, or all from a record on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import WrongState
from durablecli.model import events as ev

Context = df.DurableOrchestrationContext
RETRY = df.RetryPolicy(timedelta(seconds=1), 2)


class CollectingHarness:
    """Orchestrations that catch the failures of their calls, and raise at the end."""

    def __init__(self, replay_always: bool) -> None:
        self.runs: Counter[str] = Counter()
        self.broken = {"b", "d"}
        self.suffix = ""
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)
        self.client = self.hub.client

    def _functions(self) -> list[Any]:
        @df.activity
        def work(key: str) -> str:
            self.runs[key] += 1
            if key in self.broken:
                raise ValueError(f"{key} is broken")
            return f"{key}{self.suffix}"

        @df.orchestrator
        def child(context: Context) -> Any:
            return (yield context.call_activity("work", context.get_input()))

        @df.orchestrator
        def collects(context: Context) -> Any:
            tasks = [context.call_activity("work", key) for key in "abc"]
            tasks.append(context.call_sub_orchestrator("child", "d"))
            tasks.append(context.call_activity_with_retry("work", RETRY, "e"))
            results, failures = [], []
            for task in tasks:
                try:
                    results.append((yield task))
                except df.TaskFailedError as error:
                    failures.append(str(error))
            if failures:
                raise RuntimeError(f"{len(failures)} failed")
            return results

        @df.orchestrator
        def chain(context: Context) -> Any:
            first = yield context.call_activity("work", "x")
            second = yield context.call_activity("work", "y")
            event = yield context.wait_for_external_event("Go")
            third = yield context.call_activity("work", "b")
            return [first, second, event, third]

        @df.orchestrator
        def waits(context: Context) -> Any:
            return (yield context.wait_for_external_event("Go"))

        @df.orchestrator
        def cancels(context: Context) -> Any:
            timer, waiting = context.create_timer(timedelta(hours=1)), context.call_sub_orchestrator("waits")
            first = yield context.call_activity("work", "x")
            timer.cancel()
            waiting.cancel()
            return [first, (yield context.call_activity("work", "b"))]

        return [work, child, collects, chain, waits, cancels]


@pytest.fixture
def harness(replay_always: bool) -> Iterator[CollectingHarness]:
    stage = CollectingHarness(replay_always)
    yield stage
    stage.hub.close()


def start_collecting(harness: CollectingHarness) -> None:
    harness.client.start_new("collects", "c")
    assert harness.hub.finish("c").output.endswith("2 failed")


@pytest.mark.parametrize("restart", [False, True], ids=["live", "restarted"])
def test_all_failed_calls_are_retried_and_nothing_else(harness: CollectingHarness, restart: bool) -> None:
    start_collecting(harness)
    harness.runs.clear()
    harness.broken.clear()
    if restart:
        harness.hub.restart()
    preview = harness.client.rewind_preview("c", failed_activities=True)
    assert [line.partition(" (")[0].partition(",")[0] for line in preview] == [
        "activity work",
        "sub-orchestration child",
    ]
    harness.client.rewind("c", failed_activities=True)
    status = harness.hub.finish("c")
    assert (status.status_name, status.output) == ("Completed", ["a", "b", "c", "d", "e"])
    assert harness.runs == {"b": 1, "d": 1}


def test_without_the_scope_the_same_failure_is_raised_again(harness: CollectingHarness) -> None:
    start_collecting(harness)
    harness.broken.clear()
    harness.client.rewind("c")
    assert harness.hub.finish("c").output.endswith("2 failed")


def test_all_attempts_of_a_retried_call_are_forgotten(harness: CollectingHarness) -> None:
    harness.broken = {"e"}
    harness.client.start_new("collects", "c")
    assert harness.hub.finish("c").output.endswith("1 failed")
    assert harness.runs["e"] == 2
    harness.broken.clear()
    harness.client.rewind("c", failed_activities=True)
    assert harness.hub.finish("c").output == ["a", "b", "c", "d", "e"]
    assert harness.runs["e"] == 3


def test_an_instance_without_failed_calls_refuses(harness: CollectingHarness) -> None:
    @df.orchestrator
    def raises(context: Context) -> Any:
        raise ValueError("no")
        yield

    harness.hub.restart(*harness._functions(), raises)
    harness.client.start_new("raises", "r")
    harness.hub.finish("r")
    with pytest.raises(WrongState, match="r has no failed activity: rewind it without --failed-activities"):
        harness.client.rewind("r", failed_activities=True)


def run_chain(harness: CollectingHarness) -> list[ev.Record]:
    harness.client.start_new("chain", "x")
    harness.hub.run()
    harness.client.raise_event("x", "Go", 7)
    assert harness.hub.finish("x").status_name == "Failed"
    harness.broken.clear()
    harness.runs.clear()
    harness.suffix = "!"
    return harness.client.get_history("x")


def first_of(records: list[ev.Record], kind: type, at: int = 0) -> int:
    return [record.n for record in records if isinstance(record.event, kind)][at]


@pytest.mark.parametrize("restart", [False, True], ids=["live", "restarted"])
@pytest.mark.parametrize(
    ("kind", "at", "output", "runs"),
    [
        (ev.TaskCompleted, 0, ["x!", "y!", 7, "b!"], {"x": 1, "y": 1, "b": 1}),
        (ev.TaskScheduled, 0, ["x!", "y!", 7, "b!"], {"x": 1, "y": 1, "b": 1}),
        (ev.TaskScheduled, 1, ["x", "y!", 7, "b!"], {"y": 1, "b": 1}),
        (ev.TaskCompleted, 1, ["x", "y!", 7, "b!"], {"y": 1, "b": 1}),
        (ev.EventAwaited, 0, ["x", "y", 7, "b!"], {"b": 1}),
        (ev.TaskFailed, 0, ["x", "y", 7, "b!"], {"b": 1}),
    ],
)
def test_all_from_a_record_on_is_undone(
    harness: CollectingHarness, kind: type, at: int, output: list[Any], runs: dict[str, int], restart: bool
) -> None:
    records = run_chain(harness)
    if restart:
        harness.hub.restart()
    harness.client.rewind("x", to=first_of(records, kind, at))
    status = harness.hub.finish("x")
    assert (status.status_name, status.output) == ("Completed", output)
    assert harness.runs == runs
    harness.hub.restart()
    assert harness.client.get_status("x").output == output
    assert not harness.client.check().findings


def test_the_preview_of_a_rewind_to_a_record(harness: CollectingHarness) -> None:
    records = run_chain(harness)
    second = first_of(records, ev.TaskCompleted, 1)
    assert harness.client.rewind_preview("x", to=second) == ["activity work (id 4)"]


@pytest.mark.parametrize("to", [1, 99])
def test_records_that_it_can_t_be_rewound_to(harness: CollectingHarness, to: int) -> None:
    run_chain(harness)
    with pytest.raises(WrongState, match=rf"x can be rewound to records 2 to \d+, not to {to}"):
        harness.client.rewind("x", to=to)


@pytest.mark.parametrize("to", range(2, 10))
def test_a_rewind_to_any_record_beside_cancelled_work_succeeds(harness: CollectingHarness, to: int) -> None:
    """Also to one between two decisions of a turn, the first of which cancels something."""
    harness.client.start_new("cancels", "x")
    assert harness.hub.finish("x").runtime_status == df.OrchestrationRuntimeStatus.Failed
    harness.broken.clear()
    harness.client.rewind("x", to=to)
    assert harness.hub.finish("x").output == ["x", "b"]
