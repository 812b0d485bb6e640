"""Explained waits for entities, from hand-made states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.client import RunningEntityBatch
from durablecli.client.entity_waits import EntityWait, Lookups, explain_waits
from durablecli.model import events as ev
from durablecli.model.status import PendingWait
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAIR = ("@account@a", "@account@b")
OURS, OTHER = ev.Origin("we", "1", 4), ev.Origin("other", "2", 9)


def make_entity_state(entity: str, *events: ev.AnyEvent) -> EntityRuntimeState:
    started = ev.EntityStarted(entity, "1")
    records = [ev.Record(n, NOON + timedelta(seconds=n), event) for n, event in enumerate((started, *events), 1)]
    return fold_entity_log(records)


def make_lock_requests(*senders: ev.Origin) -> list[ev.AnyEvent]:
    return [ev.EntityLockReceived(PAIR, sender) for sender in senders]


def explain(
    wait: PendingWait, *ledgers: EntityRuntimeState, holder_status: str | None = None, upto: int = 0
) -> PendingWait:
    running = {one.id: RunningEntityBatch(NOON, upto, "1") for one in ledgers}
    looks = Lookups({one.id: one for one in ledgers}.get, lambda instance: holder_status, lambda: running)
    (found,) = explain_waits((wait,), "we", "1", looks)
    return found


WAIT = PendingWait("lock", 4, since=NOON, entities=PAIR)
CALL = PendingWait("entity", 4, "add", NOON, entity=PAIR[0])


def test_a_lock_is_waited_for_at_the_first_entity_that_another_holds() -> None:
    a, b = (
        make_entity_state(PAIR[0], *make_lock_requests(OURS)),
        make_entity_state(PAIR[1], *make_lock_requests(OTHER, OURS)),
    )
    found = explain(WAIT, a, b)
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.held_since) == (PAIR[1], "other", NOON + timedelta(seconds=2))
    assert (found.kind, found.id, found.since, found.entities) == ("lock", 4, NOON, PAIR)


def test_a_suspended_or_blocked_holder_is_shown_with_its_reason() -> None:
    found = explain(WAIT, make_entity_state(PAIR[0], *make_lock_requests(OTHER, OURS)), holder_status="suspended")
    assert isinstance(found, EntityWait)
    assert (found.holder, found.holder_status) == ("other", "suspended")


def test_the_awaited_one_of_a_hundred_locks_is_found_with_few_lookups() -> None:
    hundred = tuple(f"@seat@{n:03}" for n in range(100))
    looked: list[str] = []

    def look(entity: str) -> EntityRuntimeState | None:
        looked.append(entity)
        at = hundred.index(entity)
        senders = [OURS] if at < 70 else [OTHER, OURS] if at == 70 else [OTHER]
        return make_entity_state(entity, *(ev.EntityLockReceived(hundred, sender) for sender in senders))

    (found,) = explain_waits((PendingWait("lock", 4, since=NOON, entities=hundred),), "we", "1", Lookups(look))
    assert (found.entity, found.holder) == (hundred[70], "other")
    assert len(looked) < 10


def test_requests_ahead_are_counted_and_the_first_is_named() -> None:
    spin = ev.EntityOperationReceived("spin", sender=OTHER, expects_reply=True)
    found = explain(
        WAIT, make_entity_state(PAIR[0], spin, ev.EntityDeletionReceived(), *make_lock_requests(OURS, OTHER)), upto=2
    )
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.ahead, found.running_since) == (PAIR[0], None, 2, NOON)
    assert found.first is not None
    assert (found.first.kind, found.first.name, found.first.sender) == ("operation", "spin", "other")


def test_an_operation_that_runs_has_nothing_before_it_and_one_that_is_done_does_not_run() -> None:
    a = make_entity_state(PAIR[0], ev.EntityOperationReceived("add", sender=OURS, expects_reply=True))
    found = explain(CALL, a, upto=2)
    assert isinstance(found, EntityWait)
    assert (found.ahead, found.first, found.running_since) == (0, None, NOON)
    found = explain(CALL, a, upto=1)
    assert isinstance(found, EntityWait)
    assert found.running_since is None


def test_an_operation_of_the_holder_is_ahead_of_lock_requests() -> None:
    get = ev.EntityOperationReceived("get", expects_reply=True)
    held = make_entity_state(
        PAIR[0], *make_lock_requests(ev.Origin("we", "1", 2)), get, ev.EntityOperationReceived("add", sender=OURS)
    )
    found = explain(CALL, held, upto=4)
    assert isinstance(found, EntityWait)
    assert (found.ahead, found.running_since) == (0, NOON)


def test_another_section_of_the_same_instance_is_another_holder() -> None:
    earlier = ev.Origin("we", "1", 2)
    assert explain(WAIT, make_entity_state(PAIR[0], *make_lock_requests(earlier, OURS))).holder == "we"


def test_a_lock_queued_behind_operations_names_the_entity_and_why_it_is_blocked() -> None:
    a = make_entity_state(
        PAIR[0], ev.EntityOperationReceived("add"), *make_lock_requests(OURS), ev.ExecutionBlocked("no function")
    )
    found = explain(WAIT, a)
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.held_since, found.blocked) == (PAIR[0], None, None, "no function")


def test_a_granted_lock_and_an_unknown_one_are_unchanged() -> None:
    assert (
        explain(
            WAIT,
            make_entity_state(PAIR[0], *make_lock_requests(OURS)),
            make_entity_state(PAIR[1], *make_lock_requests(OURS)),
        )
        is WAIT
    )
    assert explain(WAIT) is WAIT


@pytest.mark.parametrize(("holder", "told_of"), [(OTHER, "other"), (ev.Origin("we", "1", 2), None)])
def test_an_operation_waits_for_the_lock_of_another_only(holder: ev.Origin, told_of: str | None) -> None:
    a = make_entity_state(
        PAIR[0], *make_lock_requests(holder), ev.EntityOperationReceived("add", sender=OURS, expects_reply=True)
    )
    assert explain(CALL, a).holder == told_of


def test_an_operation_at_a_blocked_entity_says_why() -> None:
    found = explain(CALL, make_entity_state(PAIR[0], ev.ExecutionBlocked("no function")))
    assert isinstance(found, EntityWait)
    assert (found.name, found.blocked) == ("add", "no function")


def test_other_waits_are_unchanged_and_entity_lookups_are_limited() -> None:
    looked: list[str] = []

    def look(entity: str) -> EntityRuntimeState | None:
        looked.append(entity)
        return None

    waits = [PendingWait("entity", n, "add", NOON, entity=f"@c@{n % 50}") for n in range(200)]
    timer = PendingWait("timer", 3)
    found = explain_waits((timer, *waits), "we", "1", Lookups(look))
    assert found[0] is timer
    assert len(found) == 201
    assert len(looked) == 20
