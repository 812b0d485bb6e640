"""Orchestrators of the Python SDK: sequences, parallel calls, sub-orchestrations, and what the context tells."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from durabletask import task
from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key

seen: dict[str, list[Any]] = {}


def plus_one(_: task.ActivityContext, value: int) -> int:
    return value + 1


def describe_call(context: task.ActivityContext, _: Any) -> list[Any]:
    return [context.orchestration_id, context.task_id]


def note(_: task.ActivityContext, entry: list[str]) -> None:
    seen.setdefault(entry[0], []).append(entry[1])


def orchestrate_nothing(context: Context, value: Any) -> Any:
    return value


def chain(context: Context, length: int) -> Turns:
    values = [0]
    for _ in range(length):
        values.append((yield context.call_activity(plus_one, input=values[-1])))
    return values


def fan_out(context: Context, width: int) -> Turns:
    return sum((yield task.when_all([context.call_activity(plus_one, input=n) for n in range(width)])))


def first_of_two(context: Context, _: Any) -> Turns:
    slow = context.create_timer(timedelta(minutes=5))
    quick = context.call_activity(plus_one, input=1)
    winner = yield task.when_any([slow, quick])
    assert winner is quick
    slow.cancel()
    return quick.get_result()


def call_by_name(context: Context, value: int) -> Turns:
    return (yield context.call_activity("plus_one", input=value))


def tell_context(context: Context, _: Any) -> Turns:
    before = context.current_utc_datetime
    call = yield context.call_activity(describe_call)
    uuids = [context.new_uuid(), context.new_uuid()]
    again = yield context.call_activity(describe_call)
    later = context.current_utc_datetime
    return {
        "instance": context.instance_id,
        "parent": context.parent_instance_id,
        "calls": [call, again],
        "uuids": uuids,
        "times": [before.isoformat(), later.isoformat()],
    }


def note_replaying(context: Context, key: str) -> Turns:
    logger = context.create_replay_safe_logger(logging.getLogger(key))
    for n in range(3):
        logger.warning("step %d", n)
        seen.setdefault(key, []).append(context.is_replaying)
        yield context.call_activity(plus_one, input=n)
    return None


def parent(context: Context, width: int) -> Turns:
    children: list[task.Task[Any]] = [context.call_sub_orchestrator(child, input=n) for n in range(width)]
    return (yield task.when_all(children))


def child(context: Context, value: int) -> Turns:
    return [context.parent_instance_id, (yield context.call_activity(plus_one, input=value))]


def parent_of_named_child(context: Context, instance: str) -> Turns:
    return (yield context.call_sub_orchestrator("orchestrate_child_name", input="x", instance_id=instance))


def orchestrate_child_name(context: Context, value: str) -> list[str]:
    return [context.instance_id, value]


def grandparent(context: Context, depth: int) -> Turns:
    if depth == 0:
        return [context.instance_id]
    return [context.instance_id, *(yield context.call_sub_orchestrator(grandparent, input=depth - 1))]


def await_nothing(context: Context, _: Any) -> Turns:
    return (yield task.when_all([context.call_activity(plus_one, input=1)]))


def schedule_and_forget(context: Context, key: str) -> Turns:
    context.call_activity(note, input=[key, "forgotten"])
    yield context.call_activity(note, input=[key, "awaited"])
    return "done"


FUNCTIONS = [
    plus_one, describe_call, note, orchestrate_nothing, chain, fan_out, first_of_two,
    call_by_name, tell_context, note_replaying, parent, child, parent_of_named_child, orchestrate_child_name,
    grandparent, await_nothing, schedule_and_forget,
]  # fmt: skip


def test_an_orchestrator_without_calls(hub: SdkHub) -> None:
    instance = hub.start(orchestrate_nothing, {"a": [1, None, "ü"]}, tags={"team": "blue"})
    state = hub.wait(instance)
    assert (state.instance_id, state.name) == (instance, "orchestrate_nothing")
    assert state.runtime_status is OrchestrationStatus.COMPLETED
    assert state.get_input() == state.get_output() == {"a": [1, None, "ü"]}
    assert state.failure_details is None
    assert state.serialized_custom_status is None
    assert state.created_at <= state.last_updated_at


def test_a_chain(hub: SdkHub) -> None:
    assert hub.run(chain, 12) == list(range(13))


def test_a_fan_out(hub: SdkHub) -> None:
    assert hub.run(fan_out, 60) == sum(range(1, 61))


def test_the_first_of_two(hub: SdkHub) -> None:
    assert hub.run(first_of_two) == 2


def test_an_activity_by_its_name(hub: SdkHub) -> None:
    assert hub.run(call_by_name, 5) == 6


def test_when_all_of_one(hub: SdkHub) -> None:
    assert hub.run(await_nothing) == [2]


def test_the_context_tells_ids_and_times(hub: SdkHub) -> None:
    told = hub.run(tell_context, instance_id=(instance := new_key()))
    assert told["instance"] == instance
    assert told["parent"] is None
    assert [call[0] for call in told["calls"]] == [instance, instance]
    assert told["calls"][0][1] != told["calls"][1][1]
    assert len({*told["uuids"]}) == 2
    first, later = map(datetime.fromisoformat, told["times"])
    assert timedelta(0) <= later - first < timedelta(seconds=20)


def test_an_orchestrator_knows_that_it_replays(hub: SdkHub, caplog: pytest.LogCaptureFixture) -> None:
    hub.run(note_replaying, key := new_key())
    assert seen[key].count(False) == 3, "each step is live once, and replayed at each later turn"
    assert [record.getMessage() for record in caplog.records if record.name == key] == ["step 0", "step 1", "step 2"]


@daemon_only
def test_children_know_their_parent(hub: SdkHub) -> None:
    assert hub.run(parent, 5, instance_id=(instance := new_key())) == [[instance, n + 1] for n in range(5)]


def test_a_child_with_a_chosen_id(hub: SdkHub) -> None:
    instance = new_key()
    assert hub.run(parent_of_named_child, instance) == [instance, "x"]
    state = hub.state(instance)
    assert state.name == "orchestrate_child_name"
    assert state.runtime_status is OrchestrationStatus.COMPLETED


def test_descendants(hub: SdkHub) -> None:
    instances = hub.run(grandparent, 4)
    assert len(set(instances)) == 5
    assert {hub.state(each).runtime_status for each in instances} == {OrchestrationStatus.COMPLETED}


def test_a_hundred_levels_of_children(hub: SdkHub) -> None:
    """The SDK makes the id of a child from the id of its parent."""
    instances = hub.run(grandparent, 100)
    assert len(set(instances)) == 101


def test_a_call_that_nobody_awaits_runs_too(hub: SdkHub) -> None:
    assert hub.run(schedule_and_forget, key := new_key()) == "done"
    assert "forgotten" in seen[key]


def test_many_instances_at_once(hub: SdkHub) -> None:
    instances = [hub.start(chain, 3) for _ in range(30)]
    assert [hub.wait(instance).get_output() for instance in instances] == [[0, 1, 2, 3]] * 30


def test_starts_from_several_threads(hub: SdkHub) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(hub.run(chain, 2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[0, 1, 2]] * 8


def test_the_asyncio_client(hub: SdkHub) -> None:
    async def use_client() -> Any:
        async with AsyncTaskHubGrpcClient(host_address=hub.address) as client:
            instance = await client.schedule_new_orchestration(chain, input=2)
            state = await client.wait_for_orchestration_completion(instance, timeout=20)
            assert state is not None
            return state.get_output()

    assert asyncio.run(use_client()) == [0, 1, 2]
