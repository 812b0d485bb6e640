"""Queries, pages and histories with the Python SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from durabletask import history, task
from durabletask.client import OrchestrationQuery, OrchestrationStatus
from durabletask.entities import DurableEntity, EntityInstanceId

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key

COMPLETED, FAILED, RUNNING = OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.RUNNING


class Counter(DurableEntity):
    """A number."""

    def add(self, value: int) -> int:
        self.set_state(self.get_state(int, 0) + value)
        return self.get_state(int, 0)


def plus_one(_: task.ActivityContext, value: int) -> int:
    return value + 1


def fail(_: task.ActivityContext, text: str) -> None:
    raise ValueError(text)


def orchestrate_end(context: Context, how: str) -> str:
    context.set_custom_status(f"ends: {how}")
    if how == "fail":
        raise ValueError("asked to")
    return how


def wait_for_go(context: Context, _: Any) -> Turns:
    return (yield context.wait_for_external_event("Go"))


def do_everything(context: Context, key: str) -> Turns:
    counter = EntityInstanceId("Counter", key)
    yield context.call_activity(plus_one, input=1, tags={"kind": "sum"})
    with suppress(task.TaskFailedError):
        yield context.call_activity(fail, input="once")
    yield context.create_timer(timedelta(seconds=0.05))
    yield context.call_sub_orchestrator(orchestrate_end, input="well", instance_id=f"{key}.child")
    with suppress(task.TaskFailedError):
        yield context.call_sub_orchestrator(orchestrate_end, input="fail", instance_id=f"{key}.failing")
    context.signal_entity(counter, "add", 1)
    with (yield context.lock_entities([counter])):
        yield context.call_entity(counter, "add", 2)
    context.send_event(f"{key}.nobody", "Hello", data=[1])
    return (yield context.wait_for_external_event("Go"))


FUNCTIONS = [Counter, plus_one, fail, orchestrate_end, wait_for_go, do_everything]


@pytest.fixture(scope="module")
def group(hub: SdkHub, module_worker: None) -> Iterator[dict[str, str]]:
    """Some instances with the prefix `group`: two completed, one failed, one running."""
    prefix = new_key()
    found = {"prefix": prefix, "before": datetime.now(UTC).isoformat()}
    for name, how in (("a", "well"), ("b", "well"), ("c", "fail")):
        found[name] = hub.start(orchestrate_end, how, instance_id=f"{prefix}-{name}")
        hub.wait(found[name])
    found["d"] = hub.start(wait_for_go, None, instance_id=f"{prefix}-d")
    hub.client.wait_for_orchestration_start(found["d"], timeout=20)
    yield found
    hub.client.terminate_orchestration(found["d"])


def query(hub: SdkHub, group: dict[str, str], **options: Any) -> list[str]:
    """The last letters of the ids that are found, sorted."""
    found = hub.client.get_all_orchestration_states(OrchestrationQuery(instance_id_prefix=group["prefix"], **options))
    return sorted(state.instance_id[-1] for state in found)


def test_by_prefix(hub: SdkHub, group: dict[str, str]) -> None:
    assert query(hub, group) == ["a", "b", "c", "d"]
    everything = {state.instance_id for state in hub.client.get_all_orchestration_states()}
    assert everything >= {group["a"], group["b"], group["c"], group["d"]}


def test_by_status(hub: SdkHub, group: dict[str, str]) -> None:
    assert query(hub, group, runtime_status=[COMPLETED]) == ["a", "b"]
    assert query(hub, group, runtime_status=[FAILED, RUNNING]) == ["c", "d"]
    assert query(hub, group, runtime_status=[OrchestrationStatus.SUSPENDED]) == []


def test_by_time(hub: SdkHub, group: dict[str, str]) -> None:
    before, after = datetime.fromisoformat(group["before"]), datetime.now(UTC) + timedelta(hours=1)
    assert query(hub, group, created_time_from=before, created_time_to=after) == ["a", "b", "c", "d"]
    assert query(hub, group, created_time_to=before) == []
    assert query(hub, group, created_time_from=after) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_in_pages(hub: SdkHub, group: dict[str, str], size: int) -> None:
    assert query(hub, group, max_instance_count=size) == ["a", "b", "c", "d"]


def test_payloads_are_fetched_if_asked_for(hub: SdkHub, group: dict[str, str]) -> None:
    for fetch in (False, True):
        options = OrchestrationQuery(instance_id_prefix=group["a"], fetch_inputs_and_outputs=fetch)
        (state,) = hub.client.get_all_orchestration_states(options)
        assert state.name == "orchestrate_end"
        assert (state.serialized_input, state.serialized_output) == (('"well"', '"well"') if fetch else (None, None))
        assert state.get_custom_status() == "ends: well"


def test_one_state_without_payloads(hub: SdkHub, group: dict[str, str]) -> None:
    state = hub.client.get_orchestration_state(group["a"], fetch_payloads=False)
    assert state is not None
    assert (state.serialized_input, state.serialized_output) == (None, None)


def list_ids(hub: SdkHub, size: int, **options: Any) -> list[str]:
    """All ids, page by page."""
    found: list[str] = []
    page = hub.client.list_instance_ids(page_size=size, **options)
    while True:
        assert len(page.items) <= size
        found += page.items
        if not page.continuation_token:
            return found
        page = hub.client.list_instance_ids(page_size=size, continuation_token=page.continuation_token, **options)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_ids_of_what_has_ended(hub: SdkHub, group: dict[str, str], size: int) -> None:
    mine = [each for each in list_ids(hub, size) if each.startswith(group["prefix"])]
    assert mine == [group["a"], group["b"], group["c"]], "in the order of their ends"
    failed = [each for each in list_ids(hub, size, runtime_status=[FAILED]) if each.startswith(group["prefix"])]
    assert failed == [group["c"]]
    before, after = datetime.fromisoformat(group["before"]), datetime.now(UTC) + timedelta(hours=1)
    assert set(mine) <= set(list_ids(hub, size, completed_time_from=before, completed_time_to=after))
    assert not set(mine) & set(list_ids(hub, size, completed_time_to=before))
    assert list_ids(hub, size, completed_time_from=after) == []


def kinds(events: list[history.HistoryEvent]) -> list[str]:
    return [type(event).__name__.removesuffix("Event") for event in events]


def test_a_history_has_all_that_happened(hub: SdkHub) -> None:
    instance = hub.start(do_everything, key := new_key(), instance_id=new_key())
    hub.client.raise_orchestration_event(instance, "Go", data="ü")
    assert hub.wait(instance).get_output() == "ü"
    events = hub.client.get_orchestration_history(instance)
    found = kinds(events)
    assert found[:2] == ["OrchestratorStarted", "ExecutionStarted"]
    assert found[-1] == "ExecutionCompleted"
    expected = {
        "TaskScheduled": 2, "TaskCompleted": 1, "TaskFailed": 1, "TimerCreated": 1, "TimerFired": 1, "EventSent": 1,
        "SubOrchestrationInstanceCreated": 2, "SubOrchestrationInstanceCompleted": 1,
        "SubOrchestrationInstanceFailed": 1, "EntityOperationSignaled": 1, "EntityOperationCalled": 1,
        "EntityOperationCompleted": 1, "EntityLockRequested": 1, "EntityLockGranted": 1, "EntityUnlockSent": 1,
        "EventRaised": 1,
    }  # fmt: skip
    assert {kind: found.count(kind) for kind in expected} == expected
    started = next(event for event in events if isinstance(event, history.ExecutionStartedEvent))
    assert (started.name, started.input) == ("do_everything", f'"{key}"')
    scheduled = [event for event in events if isinstance(event, history.TaskScheduledEvent)]
    assert [(event.name, event.input) for event in scheduled] == [("plus_one", "1"), ("fail", '"once"')]
    (done,) = [event for event in events if isinstance(event, history.TaskCompletedEvent)]
    assert (done.task_scheduled_id, done.result) == (scheduled[0].event_id, "2")
    (failed,) = [event for event in events if isinstance(event, history.TaskFailedEvent)]
    assert failed.task_scheduled_id == scheduled[1].event_id
    assert failed.failure_details is not None
    assert failed.failure_details.message == "once"
    ended = events[-1]
    assert isinstance(ended, history.ExecutionCompletedEvent)
    assert (OrchestrationStatus(ended.orchestration_status), ended.result) == (COMPLETED, r'"\u00fc"')


@daemon_only
def test_the_times_and_tags_of_a_history(hub: SdkHub) -> None:
    instance = hub.start(do_everything, new_key(), tags={"team": "blue"})
    hub.client.raise_orchestration_event(instance, "Go")
    hub.wait(instance)
    events = hub.client.get_orchestration_history(instance)
    assert all(abs(datetime.now(UTC) - event.timestamp) < timedelta(minutes=1) for event in events)
    assert [event.tags for event in events if isinstance(event, history.ExecutionStartedEvent)] == [{"team": "blue"}]
    tags = [event.tags for event in events if isinstance(event, history.TaskScheduledEvent)]
    assert tags == [{"kind": "sum"}, None]


def test_a_long_history_comes_in_chunks(hub: SdkHub) -> None:
    instance = hub.start(wait_for_go)
    for n in range(250):
        hub.client.raise_orchestration_event(instance, "Other", data=n)
    hub.client.raise_orchestration_event(instance, "Go")
    hub.wait(instance)
    events = hub.client.get_orchestration_history(instance)
    raised = [event for event in events if isinstance(event, history.EventRaisedEvent) and event.name == "Other"]
    assert [event.input for event in raised] == [str(n) for n in range(250)]


def test_a_history_of_nobody(hub: SdkHub) -> None:
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        hub.client.get_orchestration_history(new_key())
