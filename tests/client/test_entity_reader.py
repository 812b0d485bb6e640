"""The client and entities, without an engine: what it posts, reads and refuses."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.client import Client, DurableOrchestrationClient, EntityWait, MessageItem, Query
from durablecli.errors import NotFound, UsageError, WrongState
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure
from durablecli.store.disk import LocalDisk
from durablecli.store.inbox.inbox_reader import InboxReader
from tests.support.history_writer import NOON, open_hub_writer

A = "@counter@a"
LATER = datetime(2999, 1, 1, tzinfo=UTC)
SENDER = ev.Origin("transfer-7", "1", 4)
ADD = ev.EntityOperationReceived("add", Raw(b"5"))
FIVE = ev.EntityBatch(2, state=Raw(b"5"))


def write(root: str, entity: str, *events: ev.AnyEvent) -> None:
    with open_hub_writer(root) as hub:
        hub.write(entity, ev.EntityStarted(entity, "1"), *events)


def pending_items(root: str, entity: str) -> list[tuple[str, MessageItem]]:
    found = InboxReader(LocalDisk(), root).pending_messages(entity)
    return [(message.kind, item) for message in found for item in message.items]


# ── signals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("named", [EntityId("Counter", "a"), "@Counter@a", A])
def test_a_signal_is_on_disk_and_keeps_falsy_inputs(client: Client, root: str, named: EntityId | str) -> None:
    client.signal_entity(named, "add", 0, at=LATER.replace(tzinfo=None))
    assert pending_items(root, A) == [("signal", MessageItem(A, "add", Raw(b"0"), start_at=LATER))]


def test_a_signal_needs_an_operation_and_an_entity(client: Client, root: str) -> None:
    with pytest.raises(ValueError, match="the name of an operation must be a string, not NoneType"):
        client.signal_entity(A, None)  # type: ignore[arg-type]  # on purpose
    for named in ("counter", "@counter", "", "@@a", None):
        with pytest.raises(UsageError, match="as @name@key"):
            client.signal_entity(named, "add")  # type: ignore[arg-type]  # on purpose
    assert not os.path.exists(root)


def test_the_name_of_an_operation_may_be_empty(client: Client, root: str) -> None:
    client.signal_entity(A, "", 1)
    assert pending_items(root, A) == [("signal", MessageItem(A, "", Raw(b"1")))]


@pytest.mark.parametrize("name", ["at", "signal_time"])
@pytest.mark.parametrize("given", [LATER, LATER.replace(tzinfo=None), timedelta(days=360_000)])
def test_a_signal_is_scheduled_by_a_time_or_a_delay(
    client: Client, root: str, name: str, given: datetime | timedelta
) -> None:
    client.signal_entity(A, "add", **{name: given})
    ((_, item),) = pending_items(root, A)
    assert item.start_at is not None
    assert item.start_at == LATER if isinstance(given, datetime) else item.start_at > LATER


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"at": "tomorrow"}, "at is a datetime or a timedelta, not str"),
        ({"at": 5}, "at is a datetime or a timedelta, not int"),
        ({"signal_time": 5}, "signal_time is a datetime or a timedelta, not int"),
        ({"at": LATER, "signal_time": LATER}, "are the same: give only one of them"),
        ({"at": timedelta.max}, "between the years 1 and 9999"),
    ],
)
def test_an_invalid_time_is_refused_in_one_line(
    client: Client, root: str, times: dict[str, Any], expected: str
) -> None:
    with pytest.raises((TypeError, UsageError), match=expected):
        client.signal_entity(A, "add", **times)
    assert not os.path.exists(root)


def test_a_running_engine_refuses_unknown_functions(client: Client, root: str) -> None:
    with open_hub_writer(root):
        Path(root, "engine.json").write_text('{"functions":[{"name":"Counter","kind":"entity"}]}')
        client.signal_entity(A, "add")
        with pytest.raises(
            NotFound, match=r"'account' doesn't exist, is disabled, or is not an entity;.* known: Counter"
        ):
            client.signal_entity("@account@a", "add")
    client.signal_entity("@account@a", "add")


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_entity_that_nothing_was_sent_to_is_falsy(client: Client, root: str) -> None:
    status = client.entity(A)
    assert not status
    assert (client.read_entity_state(A).entity_exists, client.read_entity_state(A).entity_state) == (False, None)
    with pytest.raises(NotFound, match="no entity '@counter@a'"):
        client.get_entity_history(A)
    assert not os.path.exists(root)


def test_an_unaccepted_signal_makes_an_entity_pending(client: Client) -> None:
    client.signal_entity(A, "add", 5)
    status = client.entity(A)
    assert status
    assert (status.status_name, status.taken, status.exists) == ("Pending", False, False)
    assert [(one.kind, one.name) for one in status.requested] == [("signal", "add")]
    assert not client.read_entity_state(A).entity_exists


def test_a_state_is_read_until_it_is_deleted(client: Client, root: str) -> None:
    write(root, A, ADD, FIVE)
    write(root, "@counter@b", ADD, FIVE, ev.EntityDeletionReceived(), ev.EntityBatch(4, deleted=True))
    write(root, "@counter@c", ADD, ev.EntityBatch(2, state=Raw(b"null")))
    found = client.read_entity_state(EntityId("counter", "a"))
    assert (found.entity_exists, found.entity_state) == (True, 5)
    assert (client.read_entity_state("@counter@b").entity_exists, client.entity("@counter@b").status_name) == (
        False,
        "Empty",
    )
    assert (client.read_entity_state("@counter@c").entity_exists, client.entity("@counter@c").state) == (True, None)


def test_the_status_says_who_holds_the_lock_what_waits_and_what_failed(client: Client, root: str) -> None:
    failed = ev.EntityOperationResult(2, failure=Failure("builtins.ValueError", "no"))
    write(
        root,
        A,
        ev.EntityOperationReceived("add", sender=SENDER, expects_reply=True),
        ev.EntityOperationReceived("reset", scheduled_time=LATER),
        ev.EntityBatch(2, state=Raw(b"5"), results=(failed,)),
        ev.EntityLockReceived((A, "@counter@b"), SENDER),
        ev.EntityOperationReceived("get", sender=ev.Origin("other", "1", 3), expects_reply=True),
        ev.EntityLockReceived((A,), ev.Origin("next", "1", 2)),
        ev.EntityDeletionReceived(),
        ev.EntityOperationReceived("add", sender=ev.Origin("transfer-7", "1", 5), expects_reply=True),
        ev.ExecutionBlocked("entity 'counter' isn't loaded"),
    )
    client.delete_entity(A)
    status = client.entity(A)
    assert status.locked_by is not None
    assert (status.locked_by.instance, status.locked_by.entities) == ("transfer-7", (A, "@counter@b"))
    assert status.locked_by.since == NOON + timedelta(seconds=5)
    assert [(one.kind, one.name, one.sender) for one in status.queued] == [
        ("operation", "add", "transfer-7"),
        ("operation", "get", "other"),
        ("lock", None, "next"),
        ("delete", None, None),
    ]
    assert [(one.name, one.scheduled_time) for one in status.scheduled] == [("reset", LATER)]
    assert (status.failures, status.last_failure and status.last_failure.message) == (1, "no")
    assert status.blocked is not None
    assert [one.kind for one in status.requested] == ["delete"]
    payload = json.loads(msgspec.json.encode(status.payload()))
    assert (payload["entityId"], payload["name"], payload["key"], payload["state"]) == (A, "counter", "a", 5)
    assert payload["lockedBy"]["instanceId"] == "transfer-7"
    assert payload["scheduled"][0]["scheduledTime"] == "2999-01-01T00:00:00Z"
    assert payload["lastFailure"]["type"] == "builtins.ValueError"


def test_an_operation_of_the_client_has_no_sender_and_the_history_all_records(client: Client, root: str) -> None:
    write(root, A, ADD)
    assert client.entity(A).queued[0].sender is None
    assert [type(record.event).__name__ for record in client.get_entity_history(A)] == [
        "EntityStarted",
        "EntityOperationReceived",
    ]


def test_following_an_entity_ends_with_its_purge(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write(A, ev.EntityStarted(A, "1"))
        lines = client.follow_entity(A)
        assert next(lines).record.n == 1
        hub.write(A, ADD, FIVE)
        assert [next(lines).record.n, next(lines).record.n] == [2, 3]
    with pytest.raises(NotFound):
        next(client.follow_entity("@counter@none"))


def test_a_rewritten_log_is_followed_without_gaps_or_repeats(client: Client, root: str) -> None:
    with open_hub_writer(root) as hub:
        hub.write(A, ev.EntityStarted(A, "1"), ADD, FIVE, ev.EntityOperationReceived("later", scheduled_time=LATER))
        lines = client.follow_entity(A)
        assert [next(lines).record.n for _ in range(4)] == [1, 2, 3, 4]
        snapshot = ev.EntitySnapshot(A, "1", 4, NOON, NOON, state=Raw(b"5"))
        hub.write(A, snapshot, ev.EntityOperationReceived("later", scheduled_time=LATER), rewrite_file=True)
        hub.write(A, ADD)
        assert [next(lines).record.n for _ in range(3)] == [5, 6, 7]
    assert [record.n for record in client.get_entity_history(A)] == [5, 6, 7]
    status = client.entity(A)
    assert (status.state, len(status.queued), len(status.scheduled)) == (5, 1, 1)
    assert status.created_time == NOON


def test_entities_and_instances_are_never_in_one_list(client: Client, root: str) -> None:
    write(root, A, ADD, FIVE)
    write(root, "@counter@b")
    client.start_new("tour", "t")
    client.signal_entity("@counter@c", "add")
    assert [row.id for row in client.page(Query()).rows] == ["t"]
    assert [(row.id, row.status) for row in client.list_entities(Query(sort="id")).rows] == [
        (A, "Exists"),
        ("@counter@b", "Empty"),
    ]
    assert (client.count_entities(), client.count_entities(Query(status=("Empty",)))) == (2, 1)
    assert [status.instance_id for status in client.get_status_all()] == ["t"]


# ── deleting and purging ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_delete_is_forced_only_on_request(client: Client, root: str) -> None:
    write(root, A, ADD, FIVE)
    client.delete_entity(A)
    client.delete_entity(A, force=True)
    assert [(kind, item.force) for kind, item in pending_items(root, A)] == [("delete", False), ("delete", True)]


def test_a_delete_needs_a_state_or_something_that_may_yet_make_one(client: Client, root: str) -> None:
    write(root, A, ADD, FIVE)
    write(root, "@counter@empty")
    write(root, "@counter@busy", ADD)
    client.signal_entity("@counter@new", "add")
    for entity in (A, "@counter@busy", "@counter@new"):
        client.delete_entity(entity)
        assert pending_items(root, entity)[-1] == ("delete", MessageItem(entity))
    with pytest.raises(WrongState, match="@counter@empty is Empty"):
        client.delete_entity("@counter@empty")
    with pytest.raises(NotFound):
        client.delete_entity("@counter@none")


IN_USE: dict[str, tuple[ev.AnyEvent, ...]] = {
    "has a state": (ADD, FIVE),
    "is locked by transfer-7": (ev.EntityLockReceived((A,), SENDER),),
    "has 1 pending operation": (ADD,),
    "has 2 pending operations": (ADD, ev.EntityOperationReceived("add", scheduled_time=LATER)),
}


@pytest.mark.parametrize("reason", IN_USE)
def test_an_entity_in_use_is_not_purged(client: Client, root: str, reason: str) -> None:
    write(root, A, *IN_USE[reason])
    write(root, "@counter@empty")
    with pytest.raises(WrongState, match=reason):
        client.purge_entities(["@counter@empty", A])
    assert pending_items(root, "@counter@empty") == []


def test_an_entity_with_a_pending_signal_is_not_purged(client: Client, root: str) -> None:
    write(root, A)
    client.signal_entity(A, "add")
    with pytest.raises(WrongState, match="has a pending signal"):
        client.purge_entities([A])
    assert client.purge_entities().instances_deleted == 0


def test_a_purge_deletes_the_named_or_all_empty_entities(client: Client, root: str) -> None:
    write(root, A, ADD, FIVE)
    for key in ("b", "c"):
        write(root, f"@counter@{key}")
    write(root, "@counter@locked", ev.EntityLockReceived(("@counter@locked",), SENDER))
    assert client.purge_entities(["@counter@none"]).instances_deleted == 0
    assert client.purge_entities([EntityId("Counter", "b")]).instances_deleted == 1
    assert pending_items(root, "@counter@b") == [("purge", MessageItem("@counter@b"))]
    assert client.purge_entities().instances_deleted == 2  # b again: no engine has taken that
    assert pending_items(root, A) == pending_items(root, "@counter@locked") == []


# ── with an engine ─────────────────────────────────────────────────────────────────────────────────────────────────


@df.entity
def counter(context: df.DurableEntityContext) -> int | None:
    value: int = context.get_state(lambda: 0)
    if context.operation_name == "add":
        context.set_state(value + context.get_input())
    return value


@df.orchestrator
def holds(context: df.DurableOrchestrationContext) -> Generator[object, Any, None]:
    with (yield context.lock_entities([df.EntityId("counter", "a"), df.EntityId("counter", "b")])):
        yield context.wait_for_external_event("Go")


@df.orchestrator
def asks(context: df.DurableOrchestrationContext) -> Generator[object, Any, int]:
    value: int = yield context.call_entity(df.EntityId("counter", "b"), "get")
    return value


def test_an_entity_lives_from_its_first_signal_to_its_purge() -> None:
    with testing.hub(counter) as hub:
        client = hub.client
        for number in range(3):
            client.signal_entity(A, "add", number)
        client.signal_entity(A, "add", 10, at=hub.clock.now() + timedelta(hours=1))
        hub.run()
        assert client.read_entity_state(A).entity_state == 3
        assert len(client.entity(A).scheduled) == 1
        hub.advance(timedelta(hours=1))
        assert client.read_entity_state(A).entity_state == 13
        client.delete_entity(A)
        hub.run()
        assert client.entity(A).status_name == "Empty"
        assert client.entity(A).word == "Empty"
        assert client.purge_entities([A]).instances_deleted == 1
        hub.run()
        assert not client.entity(A)
        assert client.count_entities() == 0


def test_a_wait_for_a_lock_names_its_holder() -> None:
    with testing.hub(counter, holds, asks) as hub:
        client = hub.client
        for instance in ("first", "second"):
            client.start_new("holds", instance)
        client.start_new("asks", "third")
        hub.run()
        (lock,) = client.get_status("second").waiting_for
        assert (lock.kind, lock.entity, lock.holder) == ("lock", A, "first")
        (call,) = client.get_status("third").waiting_for
        assert (call.kind, call.name, call.entity, call.holder) == ("entity", "get", "@counter@b", "first")
        found = {status.instance_id: status.waiting_for[0] for status in client.get_status_all()}
        assert (found["first"].kind, found["second"].holder, found["third"].holder) == ("event", "first", "first")
        client.raise_event("first", "Go")
        client.raise_event("second", "Go")
        hub.run()
        assert client.get_status("third").output == 0
        assert client.entity(A).locked_by is None


def test_a_wait_at_a_blocked_entity_shows_the_reason() -> None:
    with testing.hub(asks) as hub:
        hub.client.start_new("asks", "t")
        hub.run()
        (wait,) = hub.client.get_status("t").waiting_for
        assert isinstance(wait, EntityWait)
        assert wait.blocked == "entity 'counter' isn't loaded"


# ── an entity is no instance ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.raise_event(A, "Go"),
        lambda client: client.terminate(A),
        lambda client: client.rewind(A),
        lambda client: client.restart(A),
        lambda client: client.get_history(A),
        lambda client: client.wait(A, 1),
    ],
)
def test_calls_for_instances_refuse_an_entity(client: Client, root: str, call: Callable[[Client], object]) -> None:
    write(root, A, ADD, FIVE)
    with pytest.raises(UsageError, match="@counter@a is an entity"):
        call(client)
    assert not client.get_status(A)


def test_the_async_client_awaits_the_same_calls() -> None:
    for name in ("signal_entity", "read_entity_state", "entity", "list_entities", "delete_entity", "purge_entities"):
        assert inspect.iscoroutinefunction(getattr(DurableOrchestrationClient, name))
