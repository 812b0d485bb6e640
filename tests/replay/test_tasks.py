"""Waiting for one task, for the first, or for all: results, losers, and cost."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.errors import Mismatch
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext
HOUR = timedelta(hours=1)


def test_all_gives_the_results_in_input_order() -> None:
    def flow(context: Context) -> Any:
        return (yield context.task_all([context.call_activity("F", i) for i in range(3)]))

    harness = ExecutorHarness(flow)
    harness.complete_task(4, "c")
    harness.complete_task(2, "a")
    harness.complete_task(3, "b")
    assert harness.output == ["a", "b", "c"]


def test_all_of_nothing_is_nothing() -> None:
    def flow(context: Context) -> Any:
        return (yield context.task_all([]))

    assert ExecutorHarness(flow).output == []


def test_all_waits_for_all_and_then_raises_the_first_failure_in_time() -> None:
    def flow(context: Context) -> Any:
        yield context.task_all([context.call_activity("F", i) for i in range(3)])

    harness = ExecutorHarness(flow)
    harness.fail_task(4, "third")
    harness.fail_task(3, "second")
    assert harness.runtime_state.status == "Running"
    harness.complete_task(2)
    assert harness.error == "Activity function 'F' failed: ValueError: third"
    assert harness.runtime_state.causes == (5, 6)


def test_all_raises_the_first_failure_in_time_also_of_tasks_that_had_failed_before_and_of_nested_ones() -> None:
    def flow(context: Context) -> Any:
        a, b, c, gate = (context.call_activity("F", i) for i in range(4))
        yield gate
        with pytest.raises(ValueError, match="second"):
            yield context.task_all([a, b])
        with pytest.raises(ValueError, match="second"):
            yield context.task_all([context.task_all([a, c]), b, context.task_any([b])])
        with pytest.raises(ValueError, match="third"):
            yield context.task_all([context.task_all([a, c]), context.task_any([b])])
        return "done"

    harness = ExecutorHarness(flow)
    harness.fail_task(4, "third")
    harness.fail_task(3, "second")
    harness.fail_task(2, "first")
    harness.complete_task(5)
    assert harness.output == "done"


def test_all_takes_a_task_twice() -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F")
        return (yield context.task_all([task, task]))

    harness = ExecutorHarness(flow)
    harness.complete_task(2, 1)
    assert harness.output == [1, 1]


def test_any_of_nothing_is_none() -> None:
    def flow(context: Context) -> Any:
        nothing = context.task_any([])
        assert nothing.is_completed
        first = yield context.task_any([])
        return [first, nothing.result, (yield context.task_all([nothing, context.task_any([])]))]

    assert ExecutorHarness(flow).output == [None, None, [None, None]]


@pytest.mark.parametrize("verb", ["task_all", "task_any"])
def test_the_list_of_tasks_may_have_the_name_that_azure_has_for_it(verb: str) -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F")
        found = yield getattr(context, verb)(activities=[task])
        assert (yield getattr(context, verb)(tasks=[task])) == found
        return found is task or found

    harness = ExecutorHarness(flow)
    harness.complete_task(2, 7)
    assert harness.output == (True if verb == "task_any" else [7])


@pytest.mark.parametrize("given", [{}, {"tasks": [], "activities": []}])
def test_a_composite_takes_one_list(given: Any) -> None:
    def flow(context: Context) -> Any:
        yield context.task_all(**given)

    assert "takes one list of tasks" in ExecutorHarness(flow).error


def test_an_any_that_was_not_yielded_agrees_with_itself() -> None:
    def flow(context: Context) -> Any:
        a, b = context.call_activity("F", 0), context.call_activity("F", 1)
        either = context.task_any([a, b])
        outer = context.task_any([either, context.call_activity("F", 2)])
        assert (either.is_completed, either.result, outer.result) == (False, None, None)
        with pytest.raises(RuntimeError, match="hasn't completed"):
            either.get_result()
        yield b
        assert either.is_completed
        assert either.result is b
        assert either.get_result() is b
        assert outer.get_result() is either
        yield a
        assert (yield either) is b
        assert (yield outer) is either
        return "done"

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.complete_task(2)
    assert harness.output == "done"


def test_a_task_has_a_state_as_in_azure() -> None:
    def flow(context: Context) -> Any:
        tasks = [context.call_activity("F", i) for i in range(3)]
        either = context.task_any(tasks[:2])
        before = [task.state.name for task in [*tasks, either]]
        yield tasks[0]
        with contextlib.suppress(ValueError):
            yield tasks[1]
        return [before, [task.state.value for task in [*tasks, either]]]

    harness = ExecutorHarness(flow)
    harness.complete_task(2)
    harness.fail_task(3)
    assert harness.output == [["RUNNING"] * 4, [1, 2, 0, 1]]


def test_any_gives_the_winning_task_and_never_raises() -> None:
    def flow(context: Context) -> Any:
        tasks = [context.call_activity("F", i) for i in range(2)]
        winner = yield context.task_any(tasks)
        assert winner is tasks[1]
        assert winner.is_faulted
        with pytest.raises(ValueError, match="bad"):
            winner.get_result()
        return (yield tasks[0])

    harness = ExecutorHarness(flow)
    harness.fail_task(3, "bad")
    harness.complete_task(2, "later")
    assert harness.output == "later"


def test_the_first_in_input_order_wins_when_several_are_done() -> None:
    def flow(context: Context) -> Any:
        tasks = [context.call_activity("F", i) for i in range(3)]
        yield context.call_activity("Gate")
        winner = yield context.task_any(tasks)
        return tasks.index(winner)

    harness = ExecutorHarness(flow)
    harness.complete_task(4)
    harness.complete_task(3)
    harness.complete_task(5)
    assert harness.output == 1


def test_a_task_listed_twice_in_any_can_win_twice() -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F")
        first = yield context.task_any([task, task])
        second = yield context.task_any([task])
        return first is second

    harness = ExecutorHarness(flow)
    harness.complete_task(2)
    assert harness.output is True


def test_as_completed_gives_every_task_once_in_the_order_of_completion() -> None:
    def flow(context: Context) -> Any:
        tasks = [context.call_activity("F", i) for i in range(4)]
        order = []
        while tasks:
            winner = yield context.task_any(tasks)
            tasks.remove(winner)
            order.append(winner.id)
        return order

    harness = ExecutorHarness(flow)
    for task in (4, 2, 5, 3):
        harness.complete_task(task)
    assert harness.output == [4, 2, 5, 3]


def test_composites_can_be_nested() -> None:
    def flow(context: Context) -> Any:
        a, b, c = (context.call_activity("F", i) for i in range(3))
        pair = context.task_all([a, b])
        either = context.task_any([pair, c])
        (winner,) = yield context.task_all([either])
        return winner is pair

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.complete_task(2)
    assert harness.output is True


def test_all_of_an_any_that_is_won_already() -> None:
    def flow(context: Context) -> Any:
        a, b = context.call_activity("F", 0), context.call_activity("F", 1)
        yield a
        found = yield context.task_all([context.task_any([a, b])])
        return found[0] is a

    harness = ExecutorHarness(flow)
    harness.complete_task(2)
    assert harness.output is True


def test_a_wait_that_lost_takes_nothing_until_it_is_yielded_again() -> None:
    def flow(context: Context) -> Any:
        loser = context.wait_for_external_event("E")
        yield context.task_any([loser, context.call_activity("F")])
        other = context.wait_for_external_event("E")
        first = yield other
        second = yield loser
        return [first, second]

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.raise_event("E", "for the other")
    assert harness.runtime_state.status == "Running"
    harness.raise_event("e", "for the loser")
    assert harness.output == ["for the other", "for the loser"]


def test_a_wait_that_lost_within_a_nested_any_takes_nothing_either() -> None:
    def flow(context: Context) -> Any:
        loser = context.wait_for_external_event("E")
        inner = context.task_any([loser, context.call_activity("F")])
        yield context.task_all([inner])
        return (yield context.task_all([context.wait_for_external_event("E"), inner]))[0]

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    harness.raise_event("E", "mine")
    assert harness.output == "mine"


def test_a_wait_that_was_never_yielded_takes_events() -> None:
    def flow(context: Context) -> Any:
        early = context.wait_for_external_event("E")
        late = context.wait_for_external_event("E")
        yield context.call_activity("F")
        return [early.result, late.is_completed, (yield late)]

    harness = ExecutorHarness(flow)
    harness.raise_event("E", 1)
    harness.complete_task(4)
    harness.raise_event("E", 2)
    assert harness.output == [1, False, 2]


def test_events_come_first_in_first_out_without_case_and_early_ones_are_kept() -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity("F")
        found = []
        for name in ("Order", "ORDER", "Other"):
            found.append((yield context.wait_for_external_event(name)))
        return found

    harness = ExecutorHarness(flow)
    harness.raise_event("order", 1)
    harness.raise_event("other", 2)
    harness.raise_event("OrDeR", 3)
    harness.complete_task(2)
    assert harness.output == [1, 3, 2]


def test_an_event_is_decoded_by_what_is_expected() -> None:
    def flow(context: Context) -> Any:
        yield context.wait_for_external_event("E", int)

    harness = ExecutorHarness(flow)
    harness.raise_event("E", "not a number")
    assert "int" in harness.error
    assert "Event 'E' (record 3)" in harness.error
    assert harness.runtime_state.causes == (3,)


def test_a_result_that_does_not_fit_raises_each_time_that_its_task_is_awaited() -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F", expected_type=int)
        texts = []
        for _ in range(2):
            try:
                yield task
            except Mismatch as error:
                texts.append(str(error))
        return [*texts, type(task.result).__name__, task.is_faulted]

    harness = ExecutorHarness(flow)
    harness.complete_task(2, "one")
    assert harness.output == [*["$: Expected `int`, got `str`"] * 2, "Mismatch", True]


def test_a_class_that_reads_the_same_json_in_two_ways_is_reported() -> None:
    class Fickle:
        refuses = True

        @classmethod
        def from_json(cls, data: Any) -> Fickle:
            if cls.refuses:
                cls.refuses = False
                raise ValueError("not yet")
            return cls()

    def flow(context: Context) -> Any:
        yield context.call_activity("F", expected_type=Fickle)

    harness = ExecutorHarness(flow, check=False)
    harness.complete_task(2, "one")
    assert "from_json must be deterministic" in harness.error


def test_an_event_that_does_not_fit_fails_its_wait_as_other_tasks_fail() -> None:
    def flow(context: Context) -> Any:
        found = []
        for kind in (ValueError, df.TaskFailedError):
            try:
                yield context.wait_for_external_event("E", int)
            except kind as error:
                found.append(str(error).partition(" (")[0])
        return found

    harness = ExecutorHarness(flow)
    for _ in range(2):
        harness.raise_event("E", "one")
    assert harness.output == ["Event 'E'"] * 2


@pytest.mark.parametrize("name", ["", None, 5])
def test_an_event_needs_a_name(name: Any) -> None:
    def flow(context: Context) -> Any:
        yield context.wait_for_external_event(name)

    assert "non-empty string" in ExecutorHarness(flow).error


def test_a_cancelled_timer_counts_as_completed() -> None:
    def flow(context: Context) -> Any:
        timer = context.create_timer(HOUR)
        timer.cancel()
        winner = yield context.task_any([context.call_activity("F"), timer])
        return winner is timer

    assert ExecutorHarness(flow).output is True


def test_results_can_be_asked_for_without_waiting() -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F")
        assert task.result is None
        with pytest.raises(RuntimeError, match="hasn't completed"):
            task.get_result()
        value = yield task
        return [value, task.result, task.get_result(), task.is_completed, task.is_faulted]

    harness = ExecutorHarness(flow)
    harness.complete_task(2, 7)
    assert harness.output == [7, 7, 7, True, False]


@pytest.mark.parametrize("verb", ["task_all", "task_any"])
def test_composites_take_tasks_only(verb: str) -> None:
    def flow(context: Context) -> Any:
        yield getattr(context, verb)([context.call_activity("F"), 5])

    assert f"{verb} takes tasks only, not int" in ExecutorHarness(flow).error


@pytest.mark.parametrize("verb", ["task_all", "task_any"])
def test_a_yield_in_a_lambda_is_explained(verb: str) -> None:
    def composes(context: Context) -> Any:
        call: Any = lambda value: (yield context.call_activity("F", value))  # noqa: E731 - what authors write
        yield getattr(context, verb)([call(i) for i in range(2)])

    def yields(context: Context) -> Any:
        call: Any = lambda value: (yield context.call_activity("F", value))  # noqa: E731 - what authors write
        yield call(1)

    def returns(context: Context) -> Any:
        call: Any = lambda value: (yield context.call_activity("F", value))  # noqa: E731 - what authors write
        return call(1)
        yield

    for flow in (composes, yields, returns):
        error = ExecutorHarness(flow).error
        assert "generator" in error
        assert "lambda" in error
        assert "yield from" in error


ASYNCIO: dict[str, Any] = {
    "sleep": lambda context: asyncio.sleep(1),
    "sleep of nothing": lambda context: asyncio.sleep(0),
    "gather": lambda context: asyncio.gather(context.call_activity("F"), context.call_activity("F")),
    "wait_for": lambda context: asyncio.wait_for(context.call_activity("F"), 5),
    "to_thread": lambda context: asyncio.to_thread(print),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True], ids=["no loop", "in a loop"])
@pytest.mark.parametrize("name", ASYNCIO)
def test_asyncio_in_an_orchestrator_fails_with_advice(name: str, inside: bool) -> None:
    async def flow(context: Context) -> Any:
        await ASYNCIO[name](context)

    async def in_a_loop() -> str:
        return ExecutorHarness(flow, check=False).error

    error = asyncio.run(in_a_loop()) if inside else ExecutorHarness(flow).error
    for advice in ("context.create_timer", "context.task_all", "context.task_any"):
        assert advice in error


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def count_calls(harness: ExecutorHarness, size: int) -> int:
    """Count the Python calls while every activity completes."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        for task in range(2, 2 + size):
            harness.complete_task(task)
    finally:
        sys.setprofile(None)
    return count


def as_completed(context: Context) -> Any:
    tasks = [context.call_activity("F", i) for i in range(context.get_input())]
    while tasks:
        tasks.remove((yield context.task_any(tasks)))


def all_at_once(context: Context) -> Any:
    yield context.task_all([context.call_activity("F", i) for i in range(context.get_input())])


@pytest.mark.parametrize("flow", [as_completed, all_at_once])
def test_each_of_ten_thousand_completions_costs_as_little_as_each_of_a_hundred(flow: Any) -> None:
    costs = []
    for size in (100, 10_000):
        harness = ExecutorHarness(flow, size, check=False)
        costs.append(count_calls(harness, size) / size)
        assert harness.runtime_state.status == "Completed"
    assert costs[1] < costs[0] * 1.5
