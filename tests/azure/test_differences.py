"""The differences to Azure's library in docs/azure.md: durablecli's side of the table, row by row."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.azure import functions as func
from durablecli.azure.client import SyncDurableFunctionsClient
from durablecli.errors import Conflict

app = func.FunctionApp()
turns: list[tuple[str, bool]] = []
PAGE = Path(__file__).parents[2] / "docs" / "azure.md"


@app.entity_trigger(context_name="context")
def basket(context: df.DurableEntityContext) -> None:
    state = context.get_state(list)
    if context.operation_name == "begin":
        context.set_state(["a"])
    elif context.operation_name == "in_place":
        state.append("b")
    elif context.operation_name == "raise":
        context.set_state([*state, "c"])
        raise ValueError("too late")
    context.set_result(context.get_state())


@app.activity_trigger(input_name="given")
def note(given: str) -> str:
    turns.append((given, False))
    return given


@app.activity_trigger(input_name="given")
def fails(given: str) -> None:
    raise ValueError(given)


@app.orchestration_trigger(context_name="context")
def in_place(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    entity = df.EntityId("basket", "a")
    yield context.call_entity(entity, "begin")
    yield context.call_entity(entity, "in_place")
    try:
        yield context.call_entity(entity, "raise")
    except Exception:  # noqa: BLE001 - as apps do it
        context.set_custom_status(0)
    return (yield context.call_entity(entity, "get"))


@app.orchestration_trigger(context_name="context")
def never_yields(context: df.DurableOrchestrationContext) -> str:
    context.call_activity("note", "forgotten")
    context.create_timer(context.current_utc_datetime + timedelta(days=30))
    return "done"


@app.orchestration_trigger(context_name="context")
def looks(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    turns.append(("begin", context.is_replaying))
    yield context.call_activity("note", "x")
    turns.append(("end", context.is_replaying))


@app.orchestration_trigger(context_name="context")
def fails_whole(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    yield context.call_activity("fails", "no")


@app.orchestration_trigger(context_name="context")
def asks_results(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    task = context.call_activity("fails", "no")
    winner = yield context.task_any([task])
    assert winner is task
    with pytest.raises(NotImplementedError):
        context.histories  # noqa: B018
    try:
        task.get_result()
    except Exception:  # noqa: BLE001 - as apps do it
        return isinstance(task.result, Exception)


@app.orchestration_trigger(context_name="context")
def calls_nobody(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    yield context.call_activity("nobody")


@pytest.fixture(autouse=True)
def clear_turns() -> None:
    turns.clear()


def run_to_end(name: str, **more: Any) -> df.DurableOrchestrationStatus:
    with testing.hub(app, **more) as hub:
        return hub.finish(hub.client.start_new(name), limit=timedelta(days=1))


def test_changes_in_place_and_of_a_failed_operation_are_not_kept() -> None:
    status = run_to_end("in_place")
    assert (status.output, status.custom_status) == (["a"], 0)


def test_a_call_that_is_not_yielded_is_made_and_a_pending_timer_delays_nothing() -> None:
    with testing.hub(app) as hub:
        instance = hub.client.start_new("never_yields")
        hub.run()
        assert hub.client.get_status(instance).output == "done"
        assert turns == [("forgotten", False)]


def test_a_live_turn_does_not_replay_and_another_does() -> None:
    run_to_end("looks")
    assert turns == [("begin", False), ("x", False), ("end", False)]
    turns.clear()
    run_to_end("looks", replay_always=True)
    assert turns == [("begin", False), ("x", False), ("begin", True), ("end", False)]


@pytest.mark.parametrize(("more", "status"), [({}, 200), ({"return_internal_server_error_on_failure": True}, 500)])
def test_a_wait_for_a_failed_instance_responds_with_its_status(more: dict[str, bool], status: int) -> None:
    with testing.hub(app) as hub:
        instance = hub.client.start_new("fails_whole")
        hub.finish(instance)
        client = SyncDurableFunctionsClient(hub.client)
        answer = client.wait_for_completion_or_create_check_status_response(None, instance, 1000, 100, **more)
        assert (answer.status_code, json.loads(answer.get_body())["runtimeStatus"]) == (status, "Failed")


def test_the_result_of_a_failed_task_is_its_exception() -> None:
    assert run_to_end("asks_results").output is True


def test_an_unknown_activity_blocks() -> None:
    with testing.hub(app) as hub:
        instance = hub.client.start_new("calls_nobody")
        hub.run()
        status = hub.client.get_status(instance)
        assert (status.runtime_status, status.blocked is not None) == (df.OrchestrationRuntimeStatus.Running, True)


def test_the_id_of_a_running_instance_cannot_be_reused() -> None:
    with testing.hub(app) as hub:
        hub.client.start_new("calls_nobody", "one")
        hub.run()
        with pytest.raises(Conflict):
            hub.client.start_new("calls_nobody", "one")


def test_all_instances_are_listed_and_histories_can_be_read() -> None:
    with testing.hub(app) as hub:
        for number in range(120):
            hub.client.start_new("never_yields", f"i{number}")
        hub.run()
        assert len(hub.client.get_status_all()) == 120
        assert hub.client.get_status("i1", show_history=True).history


def test_each_row_of_the_page_is_a_decision_with_its_reason() -> None:
    lines = PAGE.read_text().partition("## Differences")[2].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert [row for row in rows if len(row) != 5 or not all(cell.strip() for cell in row)] == []
