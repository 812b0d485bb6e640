"""Cancelled calls in the engine: what they have begun is stopped, and never runs if it has not begun."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client

Context = df.DurableOrchestrationContext
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class Plant:
    """Flows that cancel what they have begun, and activities that are counted."""

    def __init__(self, replay_always: bool) -> None:
        self.is_repaired = False
        self.runs: Counter[str] = Counter()
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)

    @property
    def client(self) -> Client:
        return self.hub.client

    def _functions(self) -> list[Any]:
        @df.activity
        def work(key: str) -> str:
            self.runs[key] += 1
            if key == "sick" and not self.is_repaired:
                raise ValueError("sick")
            return key

        @df.orchestrator
        def grandchild(context: Context) -> Any:
            yield context.wait_for_external_event("never")

        @df.orchestrator
        def child(context: Context) -> Any:
            yield context.call_activity(work, f"child of {context.parent_instance_id}")
            yield context.call_sub_orchestrator(grandchild, None, f"{context.instance_id}.g")

        @df.orchestrator
        def stops(context: Context) -> Any:
            tasks = [context.call_activity(work, "slow"), context.call_sub_orchestrator(child, None, "c")]
            if context.get_input() == "later":
                yield context.wait_for_external_event("stop")
            for task in tasks:
                task.cancel()
            yield context.wait_for_external_event("end")
            return [task.is_cancelled for task in tasks]

        @df.orchestrator
        def takes_a_foreign_id(context: Context) -> Any:
            task = context.call_sub_orchestrator(child, None, "other")
            task.cancel()
            yield context.wait_for_external_event("end")

        @df.orchestrator
        def fast(context: Context) -> Any:
            tasks = [context.call_activity(work, "sick"), context.call_sub_orchestrator(child, None, "c")]
            tasks.append(context.call_activity_with_retry(work, df.RetryPolicy(SECOND, 2), "other"))
            return (yield context.task_all([*tasks, context.wait_for_external_event("go")], fail_fast=True))[0]

        return [work, grandchild, child, stops, takes_a_foreign_id, fast]

    def find_kinds(self, id: str) -> list[str]:
        history = self.client.get_status(id, show_history=True).history or []
        return [record["EventType"] for record in history]


@pytest.fixture
def plant(replay_always: bool) -> Plant:
    return Plant(replay_always)


def waits(plant: Plant, id: str) -> set[str]:
    return {f"{each.kind} {each.name or ''}".rstrip() for each in plant.client.get_status(id).waiting_for}


def test_what_is_cancelled_in_the_turn_that_makes_it_never_runs(plant: Plant) -> None:
    plant.client.start_new("stops", "p", "at once")
    plant.hub.run()
    assert not plant.runs
    found = plant.client.get_status("c")
    assert (found.status_name, found.output) == ("Terminated", "cancelled by the orchestrator")
    assert waits(plant, "p") == {"event end"}
    plant.client.raise_event("p", "end", None)
    plant.hub.run()
    assert plant.client.get_status("p").output == [True, True]


def test_an_activity_is_dropped_and_a_child_terminated_with_its_own(plant: Plant) -> None:
    plant.client.start_new("stops", "p", "later")
    for _ in range(3):
        plant.hub.engine.step()
    while not plant.client.get_status("c.g"):
        plant.hub.pool.run_next(next(key for key in plant.hub.pool.waiting if key[0] == "c")) if any(
            key[0] == "c" for key in plant.hub.pool.waiting
        ) else None
        plant.hub.engine.step()
    plant.client.raise_event("p", "stop", None)
    plant.hub.run()
    assert [plant.client.get_status(id).status_name for id in ("p", "c", "c.g")] == [
        "Running", "Terminated", "Terminated",
    ]  # fmt: skip
    assert plant.runs == {"child of p": 1}
    plant.hub.restart()
    plant.hub.run()
    assert plant.runs == {"child of p": 1}
    assert waits(plant, "p") == {"event end"}


def test_a_child_that_could_not_start_as_another_has_its_id_leaves_that_alone(plant: Plant) -> None:
    plant.client.start_new("grandchild", "other")
    plant.hub.run()
    plant.client.start_new("takes_a_foreign_id", "p")
    plant.hub.run()
    assert plant.client.get_status("other").status_name == "Running"
    assert waits(plant, "p") == {"event end"}


def test_the_state_counts_cancelled_calls_and_the_timeline_ends_them(plant: Plant) -> None:
    plant.client.start_new("stops", "p", "at once")
    plant.hub.run()
    counts = plant.client.get_status("p").task_counts
    assert (counts.total, counts.canceled, counts.done) == (2, 2, 2)


def test_a_rewind_of_a_flow_that_failed_fast_repeats_what_was_cancelled(plant: Plant) -> None:
    plant.client.start_new("fast", "p")
    plant.hub.run()
    assert plant.client.get_status("p").status_name == "Failed"
    assert plant.client.get_status("c").status_name == "Terminated"
    assert plant.client.get_status("p").task_counts.canceled >= 1
    plant.is_repaired = True
    plant.client.rewind("p", "repaired")
    plant.hub.run()
    assert plant.client.get_status("c").status_name == "Running"
    assert plant.client.get_status("p").task_counts.canceled == 0
    assert waits(plant, "p") == {"child child", "event go"}
    assert plant.runs["sick"] == 2


def test_a_rewind_keeps_a_cancellation_of_a_turn_before(replay_always: bool) -> None:
    state = {"repaired": False}

    @df.activity
    def work(key: str) -> str:
        if key == "sick" and not state["repaired"]:
            raise ValueError("sick")
        return key

    @df.orchestrator
    def flow(context: Context) -> Any:
        task = context.call_activity(work, "x")
        timer = context.create_timer(HOUR)
        task.cancel()
        timer.cancel()
        yield context.call_activity(work, "sick")
        try:
            yield task
        except df.TaskCanceledError:
            return "still cancelled"

    hub = testing.hub(work, flow, replay_always=replay_always)
    hub.client.start_new("flow", "p")
    hub.run()
    assert hub.client.get_status("p").status_name == "Failed"
    state["repaired"] = True
    hub.client.rewind("p", "again")
    hub.run()
    assert hub.client.get_status("p").output == "still cancelled"


def test_a_flow_that_fails_as_its_task_is_cancelled_says_so(replay_always: bool) -> None:
    @df.activity
    def work(key: str) -> str:
        return key

    @df.orchestrator
    def flow(context: Context) -> Any:
        task = context.call_activity(work, "x")
        task.cancel()
        yield task

    @df.orchestrator
    def parent(context: Context) -> Any:
        yield context.call_sub_orchestrator(flow)

    hub = testing.hub(work, flow, parent, replay_always=replay_always)
    hub.client.start_new("parent", "p")
    hub.run()
    failure = hub.client.get_status("p").failure
    assert failure is not None
    assert "Activity function 'work' was cancelled by the orchestrator" in str(failure)


def test_an_activity_that_is_not_loaded_blocks_nothing_once_it_is_cancelled(replay_always: bool) -> None:
    @df.orchestrator
    def flow(context: Context) -> Any:
        task = context.call_activity("nowhere")
        task.cancel()
        return "done"
        yield

    hub = testing.hub(flow, replay_always=replay_always)
    hub.client.start_new("flow", "p")
    hub.run()
    assert hub.client.get_status("p").output == "done"


def test_held_outcomes_of_a_suspended_flow_may_be_cancelled_before_they_are_applied(plant: Plant) -> None:
    plant.client.start_new("stops", "p", "later")
    plant.hub.engine.step()
    plant.client.suspend("p")
    plant.client.raise_event("p", "stop", None)
    plant.hub.run()
    plant.client.resume("p")
    plant.hub.run()
    assert waits(plant, "p") == {"event end"}
    assert plant.client.get_status("c").status_name == "Terminated"
