"""Entities with the Python SDK: signals, calls, state, what entities start, queries and clean-up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask import task
from durabletask.client import EntityQuery
from durabletask.entities import DurableEntity, EntityContext, EntityInstanceId

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import SECONDS, Context, SdkHub, Turns, entity_id, new_key
from tests.support.waiting import wait_until


class Counter(DurableEntity):
    """A number, with operations that also fail and reach out."""

    def set(self, value: int) -> None:
        self.set_state(value)

    def add(self, value: int) -> int:
        total: int = self.get_state(int, 0) + value
        self.set_state(total)
        return total

    def get(self) -> int:
        return self.get_state(int, 0)

    def add_and_fail(self, value: int) -> None:
        self.set_state(self.get_state(int, 0) + value)
        raise ValueError("not added")

    def add_elsewhere(self, key: str) -> None:
        self.signal_entity(EntityInstanceId("Counter", key), "add", 7)

    def add_elsewhere_later(self, key: str) -> None:
        due = datetime.now(UTC) + timedelta(seconds=0.6)
        self.signal_entity(EntityInstanceId("Counter", key), "add", 7, due)

    def start_orchestration(self, instance: str) -> str:
        return self.schedule_new_orchestration("add_and_get", [self.entity_context.entity_id.key, 5], instance)

    def fail_after_signal(self, key: str) -> None:
        self.signal_entity(EntityInstanceId("Counter", key), "add", 7)
        raise ValueError("after the signal")


def entity_notes(context: EntityContext, text: str) -> Any:
    """An entity that is a function: the operation is a word."""
    notes: list[Any] = context.get_state(list, [])
    if context.operation == "append":
        notes.append(text)
        context.set_state(notes)
    elif context.operation == "clear":
        context.set_state(None)
    elif context.operation == "whoami":
        return [context.entity_id.entity, context.entity_id.key, context.operation]
    return notes


def add_and_get(context: Context, what: list[Any]) -> Turns:
    entity = EntityInstanceId("Counter", what[0])
    yield context.call_entity(entity, "add", what[1])
    return (yield context.call_entity(entity, "get"))


def signal_then_get(context: Context, key: str) -> Turns:
    entity = EntityInstanceId("Counter", key)
    for n in range(5):
        context.signal_entity(entity, "add", n)
    return (yield context.call_entity(entity, "get"))


def signal_later(context: Context, key: str) -> Turns:
    due = context.current_utc_datetime + timedelta(seconds=0.6)
    context.signal_entity(EntityInstanceId("Counter", key), "add", 3, due)
    yield context.create_timer(timedelta(0))


def call_in_parallel(context: Context, key: str) -> Turns:
    entity = EntityInstanceId("Counter", key)
    return sorted((yield task.when_all([context.call_entity(entity, "add", 1) for _ in range(10)])))


def catch_failure(context: Context, key: str) -> Turns:
    entity = EntityInstanceId("Counter", key)
    try:
        yield context.call_entity(entity, "add_and_fail", 5)
    except task.TaskFailedError as error:
        return [str(error.details.message), (yield context.call_entity(entity, "get"))]
    return None


def ask_notes(context: Context, key: str) -> Turns:
    entity = EntityInstanceId("entity_notes", key)
    yield context.call_entity(entity, "append", "ü")
    return [(yield context.call_entity(entity, "append", "2")), (yield context.call_entity(entity, "whoami"))]


def call_unknown_operation(context: Context, key: str) -> Turns:
    try:
        yield context.call_entity(EntityInstanceId("Counter", key), "no_such_operation")
    except task.TaskFailedError as error:
        return str(error.details.message)
    return None


FUNCTIONS = [
    Counter, entity_notes, add_and_get, signal_then_get, signal_later, call_in_parallel, catch_failure, ask_notes,
    call_unknown_operation,
]  # fmt: skip


def test_signals_of_a_client(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    for n in range(1, 11):
        hub.client.signal_entity(counter, "add", n)
    hub.wait_for_entity_state(counter, 55)
    found = hub.client.get_entity(counter)
    assert found is not None
    assert found.id == counter
    assert found.backlog_queue_size == 0
    assert found.includes_state
    assert abs(datetime.now(UTC) - found.last_modified) < timedelta(minutes=1)


def test_an_entity_without_its_state(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    hub.client.signal_entity(counter, "set", 3)
    hub.wait_for_entity_state(counter, 3)
    found = hub.client.get_entity(counter, include_state=False)
    assert found is not None
    assert (found.includes_state, found.get_state()) == (False, None)


def test_an_entity_that_nobody_used(hub: SdkHub) -> None:
    assert hub.client.get_entity(entity_id(Counter)) is None


def test_calls_of_an_orchestration(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    assert hub.run(add_and_get, [counter.key, 5]) == 5
    assert hub.run(add_and_get, [counter.key, 6]) == 11
    assert hub.entity_state(counter) == 11


def test_the_case_of_an_entitys_name_is_ignored(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    hub.client.signal_entity(EntityInstanceId("COUNTER", counter.key), "add", 2)
    hub.wait_for_entity_state(EntityInstanceId("counter", counter.key), 2)


def test_signals_come_before_a_later_call(hub: SdkHub) -> None:
    assert hub.run(signal_then_get, new_key()) == 10


def test_calls_in_parallel_are_served_one_by_one(hub: SdkHub) -> None:
    assert hub.run(call_in_parallel, new_key()) == list(range(1, 11))


def test_an_operation_that_fails_changes_nothing(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    hub.client.signal_entity(counter, "set", 3)
    message, value = hub.run(catch_failure, counter.key)
    assert "not added" in message
    assert value == 3


def test_a_failed_operation_sends_nothing(hub: SdkHub) -> None:
    counter, other = entity_id(Counter), entity_id(Counter)
    hub.client.signal_entity(counter, "fail_after_signal", other.key)
    hub.client.signal_entity(counter, "set", 1)
    hub.wait_for_entity_state(counter, 1)
    assert hub.entity_state(other) is None


def test_an_entity_that_is_a_function(hub: SdkHub) -> None:
    assert hub.run(ask_notes, key := new_key()) == [["ü", "2"], ["entity_notes", key, "whoami"]]


def test_an_operation_that_does_not_exist(hub: SdkHub) -> None:
    assert "no_such_operation" in hub.run(call_unknown_operation, new_key())


def test_an_entity_signals_another(hub: SdkHub) -> None:
    first, second = entity_id(Counter), entity_id(Counter)
    hub.client.signal_entity(first, "add_elsewhere", second.key)
    hub.wait_for_entity_state(second, 7)


def test_an_entity_starts_an_orchestration(hub: SdkHub) -> None:
    counter, instance = entity_id(Counter), new_key()
    hub.client.signal_entity(counter, "start_orchestration", instance)
    wait_until(lambda: hub.client.get_orchestration_state(instance))
    assert hub.wait(instance).get_output() == 5


def test_a_signal_that_is_due_later(hub: SdkHub) -> None:
    by_client, by_orchestration, by_entity = entity_id(Counter), entity_id(Counter), entity_id(Counter)
    due = datetime.now(UTC) + timedelta(seconds=0.6)
    hub.client.signal_entity(by_client, "add", 3, due)
    hub.start(signal_later, by_orchestration.key)
    hub.client.signal_entity(entity_id(Counter), "add_elsewhere_later", by_entity.key)
    assert datetime.now(UTC) >= due or hub.entity_state(by_client) is None
    hub.wait_for_entity_state(by_client, 3)
    assert datetime.now(UTC) >= due
    hub.wait_for_entity_state(by_orchestration, 3)
    hub.wait_for_entity_state(by_entity, 7)


def test_a_state_is_deleted(hub: SdkHub) -> None:
    counter, notes = entity_id(Counter), entity_id("entity_notes")
    hub.client.signal_entity(counter, "set", 3)
    hub.client.signal_entity(notes, "append", "a")
    hub.wait_for_entity_state(counter, 3)
    hub.wait_for_entity_state(notes, ["a"])
    hub.client.signal_entity(counter, "delete")
    hub.client.signal_entity(notes, "clear")
    hub.wait_for_entity_state(counter, None)
    hub.wait_for_entity_state(notes, None)
    hub.client.signal_entity(counter, "add", 1)
    hub.wait_for_entity_state(counter, 1)


def test_entities_are_listed(hub: SdkHub) -> None:
    prefix = new_key()
    entities = [EntityInstanceId("Counter", f"{prefix}-{n}") for n in range(5)]
    before = datetime.now(UTC) - timedelta(seconds=1)
    for n, entity in enumerate(entities):
        hub.client.signal_entity(entity, "set", n + 1)
    for n, entity in enumerate(entities):
        hub.wait_for_entity_state(entity, n + 1)
    everything = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", page_size=2)
    found = hub.client.get_all_entities(everything)
    assert sorted(str(each.id) for each in found) == sorted(map(str, entities))
    assert sorted(each.get_typed_state(int) or 0 for each in found) == [1, 2, 3, 4, 5]
    bare = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", include_state=False)
    assert [each.get_state() for each in hub.client.get_all_entities(bare)] == [None] * 5
    recent = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", last_modified_from=before)
    assert len(hub.client.get_all_entities(recent)) == 5
    old = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", last_modified_to=before)
    assert hub.client.get_all_entities(old) == []
    assert hub.client.get_all_entities(EntityQuery(instance_id_starts_with=f"@counter@{new_key()}")) == []


def test_empty_entities_are_cleaned_up(hub: SdkHub) -> None:
    kept, emptied = entity_id(Counter), entity_id(Counter)
    for entity in (kept, emptied):
        hub.client.signal_entity(entity, "set", 3)
        hub.wait_for_entity_state(entity, 3)
    hub.client.signal_entity(emptied, "delete")
    hub.wait_for_entity_state(emptied, None)
    result = hub.client.clean_entity_storage()
    assert result.empty_entities_removed >= 1
    assert hub.client.get_entity(emptied) is None
    assert hub.entity_state(kept) == 3


@daemon_only
def test_an_entity_is_purged(hub: SdkHub) -> None:
    counter = entity_id(Counter)
    hub.client.signal_entity(counter, "set", 3)
    hub.wait_for_entity_state(counter, 3)
    assert hub.client.purge_orchestration(str(counter)).deleted_instance_count == 1
    assert wait_until(lambda: hub.client.get_entity(counter) is None, SECONDS)
