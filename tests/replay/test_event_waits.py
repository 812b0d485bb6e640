"""Which event waits are active: those never awaited, and of the others those that something awaited needs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.model import events as ev
from durablecli.replay.runtime_state import RuntimeState
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext


def test_a_wait_that_lost_a_nested_race_takes_nothing_while_the_race_continues() -> None:
    def flow(context: Context) -> Any:
        lost = context.wait_for_external_event("E")
        inner = context.task_any([lost, context.call_activity("F", 0)])
        others = [context.call_activity("F", i) for i in (1, 2)]
        assert (yield context.task_any([inner, *others])) is inner
        yield context.task_any(others)
        later = context.wait_for_external_event("E")
        yield context.task_any([later, others[1]])
        return [later.result, lost.is_completed]

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.complete_task(4)
    harness.raise_event("E", "mine")
    assert harness.output == ["mine", False]


def test_a_wait_that_lost_one_race_takes_events_for_another_that_is_awaited() -> None:
    def flow(context: Context) -> Any:
        shared, other = context.wait_for_external_event("A"), context.wait_for_external_event("B")
        first = context.task_any([shared, context.call_activity("F")])
        second = context.task_any([shared, other])
        yield context.task_all([first, second])
        return shared.result

    harness = ExecutorHarness(flow)
    harness.complete_task(4)
    harness.raise_event("A", 1)
    assert harness.output == 1


def test_a_wait_that_lost_one_race_still_waits_in_a_composite_beside_it() -> None:
    def flow(context: Context) -> Any:
        shared = context.wait_for_external_event("A")
        calls = [context.call_activity("F", i) for i in range(3)]
        pair = context.task_all([shared, calls[0]])
        quick = context.task_any([shared, calls[1]])
        tasks: list[Any] = [pair, quick, calls[2]]
        while tasks:
            tasks.remove((yield context.task_any(tasks)))
        return shared.result

    harness = ExecutorHarness(flow)
    harness.complete_task(4)
    harness.complete_task(5)
    harness.raise_event("A", "seen")
    harness.complete_task(3)
    assert harness.output == "seen"


@pytest.mark.parametrize("wrap", [False, True], ids=["any", "any in all"])
def test_yielding_a_finished_any_again_wakes_none_of_its_losers(wrap: bool) -> None:
    def flow(context: Context) -> Any:
        lost = context.wait_for_external_event("E")
        either: Any = context.task_any([lost, context.call_activity("F", 0)])
        if wrap:
            either = context.task_all([either])
        yield either
        yield either
        yield context.task_any([either, context.call_activity("F", 1)])
        later = context.wait_for_external_event("E")
        return [(yield later), lost.result]

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.raise_event("E", "mine")
    assert harness.output == ["mine", None]


@pytest.mark.parametrize("look", [False, True], ids=["not looked at", "looked at"])
def test_a_wait_takes_events_until_its_race_is_awaited_for_the_first_time(look: bool) -> None:
    def flow(context: Context) -> Any:
        early, late = context.wait_for_external_event("E"), context.wait_for_external_event("E")
        done = context.call_activity("F", 0)
        races: list[Any] = [context.task_any([early, done]), context.task_all([context.task_any([late, done])])]
        yield done
        if look:
            assert races[0].result is done
        yield context.call_activity("F", 1)
        yield races[0]
        yield races[1]
        later = context.wait_for_external_event("E")
        return [early.result, late.result, (yield later)]

    harness = ExecutorHarness(flow)
    harness.complete_task(4)
    harness.raise_event("E", 1)
    harness.complete_task(6)
    harness.raise_event("E", 2)
    assert harness.output == [1, None, 2]


def test_only_the_first_wait_to_wake_takes_an_event_that_was_kept() -> None:
    def flow(context: Context) -> Any:
        waits = [context.wait_for_external_event("E") for _ in range(2)]
        yield context.task_any([*waits, context.call_activity("F", 0)])
        yield context.call_activity("F", 1)
        assert (yield context.task_any(waits)) is waits[0]
        later = yield context.wait_for_external_event("E")
        return [waits[0].result, later, (yield waits[1])]

    harness = ExecutorHarness(flow)
    harness.complete_task(4)
    for value in (1, 2, 3):
        harness.raise_event("E", value)
    harness.complete_task(6)
    assert harness.output == [1, 2, 3]


def test_waits_that_are_needed_again_queue_behind_newer_ones() -> None:
    def flow(context: Context) -> Any:
        first, gates = context.wait_for_external_event("E"), [context.call_activity("F", i) for i in range(2)]
        yield context.task_any([first, gates[0]])
        second = context.wait_for_external_event("E")
        yield context.task_any([first, second, gates[1]])
        return [first.result, second.result]

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.raise_event("E", 1)
    assert harness.output == [None, 1]


# ── inactive waits in the runtime state ──────────────────────────────────────────────────────────────────────────────


def awaited_events(hub: testing.TestEnvironment, id: str) -> list[str]:
    return sorted(one.name or "" for one in hub.client.get_status(id).waiting_for if one.kind == "event")


@pytest.mark.parametrize("again", [False, True], ids=["live", "restarted"])
def test_the_status_lists_no_inactive_wait(again: bool, replay_always: bool) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        approval, reply = context.wait_for_external_event("Approval"), context.wait_for_external_event("Reply")
        yield context.task_any([approval, context.create_timer(timedelta(hours=1))])
        yield context.task_any([reply, context.create_timer(timedelta(hours=1))])
        yield context.task_all([approval, reply])

    with testing.hub(flow, replay_always=replay_always) as hub:
        id = hub.client.start_new(flow)
        hub.run()
        assert awaited_events(hub, id) == ["Approval", "Reply"]
        hub.advance(timedelta(minutes=90))
        if again:
            hub.restart()
            hub.run()
        assert awaited_events(hub, id) == ["Reply"]
        hub.client.raise_event(id, "approval")
        hub.run()
        assert awaited_events(hub, id) == ["Reply"], "a wait that sleeps takes nothing"
        hub.advance(timedelta(hours=1))
        assert awaited_events(hub, id) == ["Reply"], "the event was kept for the wait that needs it now"
        hub.client.raise_event(id, "Reply")
        hub.run()
        assert hub.client.get_status(id).runtime_status is df.OrchestrationRuntimeStatus.Completed
        kinds = [type(record.event).__name__ for record in hub.client.get_history(id)]
        assert kinds.count("EventWaitsChanged") == 2


def test_races_that_go_on_with_the_same_waits_leave_no_record_of_it() -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        tasks: list[Any] = [context.wait_for_external_event("E") for _ in range(3)]
        tasks += [context.create_timer(timedelta(seconds=i)) for i in range(1, 4)]
        while tasks:
            tasks.remove((yield context.task_any(tasks)))

    with testing.hub(flow) as hub:
        id = hub.client.start_new(flow)
        hub.advance(timedelta(seconds=2))
        for _ in range(3):
            hub.client.raise_event(id, "E")
        hub.finish(id)
        assert "EventWaitsChanged" not in [type(record.event).__name__ for record in hub.client.get_history(id)]


def test_the_cost_of_an_event_does_not_depend_on_the_number_of_waits() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def lines(size: int) -> float:
        runtime_state, count = RuntimeState(), 0
        records: list[ev.AnyEvent] = [ev.EventAwaited(f"E{i}") for i in range(size)]
        records += [ev.EventRaised(f"e{i}") for i in reversed(range(size))]
        numbered = [ev.Record(n, at, event) for n, event in enumerate(records, 1)]

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            for record in numbered:
                runtime_state.apply(record)
        finally:
            sys.settrace(before)
        assert not runtime_state.event_waits.active
        return count / size

    assert lines(1_000) < 1.5 * lines(50)
