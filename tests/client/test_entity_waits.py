"""What an orchestration is told about its waits at entities, from hand-made ledgers."""

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


def ledger(entity: str, *events: ev.AnyEvent) -> EntityRuntimeState:
    started = ev.EntityStarted(entity, "1")
    records = [ev.Record(n, NOON + timedelta(seconds=n), event) for n, event in enumerate((started, *events), 1)]
    return fold_entity_log(records)


def request(*senders: ev.Origin) -> list[ev.AnyEvent]:
    return [ev.EntityLockReceived(PAIR, sender) for sender in senders]


def tell(wait: PendingWait, *ledgers: EntityRuntimeState, stands: str | None = None, upto: int = 0) -> PendingWait:
    running = {one.id: RunningEntityBatch(NOON, upto, "1") for one in ledgers}
    looks = Lookups({one.id: one for one in ledgers}.get, lambda instance: stands, lambda: running)
    (found,) = explain_waits((wait,), "we", "1", looks)
    return found


WAIT = PendingWait("lock", 4, since=NOON, entities=PAIR)
CALL = PendingWait("entity", 4, "add", NOON, entity=PAIR[0])


def test_a_lock_is_waited_for_at_the_first_entity_that_another_holds() -> None:
    a, b = ledger(PAIR[0], *request(OURS)), ledger(PAIR[1], *request(OTHER, OURS))
    found = tell(WAIT, a, b)
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.held_since) == (PAIR[1], "other", NOON + timedelta(seconds=2))
    assert (found.kind, found.id, found.since, found.entities) == ("lock", 4, NOON, PAIR)


def test_a_holder_that_cannot_go_on_is_told_of_with_its_reason() -> None:
    found = tell(WAIT, ledger(PAIR[0], *request(OTHER, OURS)), stands="suspended")
    assert isinstance(found, EntityWait)
    assert (found.holder, found.holder_status) == ("other", "suspended")


def test_of_a_hundred_locks_the_one_that_is_waited_for_is_found_with_a_few_looks() -> None:
    hundred = tuple(f"@seat@{n:03}" for n in range(100))
    looked: list[str] = []

    def look(entity: str) -> EntityRuntimeState | None:
        looked.append(entity)
        at = hundred.index(entity)
        senders = [OURS] if at < 70 else [OTHER, OURS] if at == 70 else [OTHER]
        return ledger(entity, *(ev.EntityLockReceived(hundred, sender) for sender in senders))

    (found,) = explain_waits((PendingWait("lock", 4, since=NOON, entities=hundred),), "we", "1", Lookups(look))
    assert (found.entity, found.holder) == (hundred[70], "other")
    assert len(looked) < 10


def test_what_stands_before_a_request_is_counted_and_its_first_named() -> None:
    spin = ev.EntityOperationReceived("spin", sender=OTHER, expects_reply=True)
    found = tell(WAIT, ledger(PAIR[0], spin, ev.EntityDeletionReceived(), *request(OURS, OTHER)), upto=2)
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.ahead, found.running_since) == (PAIR[0], None, 2, NOON)
    assert found.first is not None
    assert (found.first.kind, found.first.name, found.first.sender) == ("operation", "spin", "other")


def test_an_operation_that_runs_has_nothing_before_it_and_one_that_is_done_does_not_run() -> None:
    a = ledger(PAIR[0], ev.EntityOperationReceived("add", sender=OURS, expects_reply=True))
    found = tell(CALL, a, upto=2)
    assert isinstance(found, EntityWait)
    assert (found.ahead, found.first, found.running_since) == (0, None, NOON)
    found = tell(CALL, a, upto=1)
    assert isinstance(found, EntityWait)
    assert found.running_since is None


def test_the_operation_of_a_holder_stands_before_what_waits_for_the_lock() -> None:
    get = ev.EntityOperationReceived("get", expects_reply=True)
    held = ledger(PAIR[0], *request(ev.Origin("we", "1", 2)), get, ev.EntityOperationReceived("add", sender=OURS))
    found = tell(CALL, held, upto=4)
    assert isinstance(found, EntityWait)
    assert (found.ahead, found.running_since) == (0, NOON)


def test_another_section_of_the_same_instance_is_another_holder() -> None:
    earlier = ev.Origin("we", "1", 2)
    assert tell(WAIT, ledger(PAIR[0], *request(earlier, OURS))).holder == "we"


def test_a_lock_that_stands_behind_operations_names_the_entity_and_why_it_is_blocked() -> None:
    a = ledger(PAIR[0], ev.EntityOperationReceived("add"), *request(OURS), ev.ExecutionBlocked("no function"))
    found = tell(WAIT, a)
    assert isinstance(found, EntityWait)
    assert (found.entity, found.holder, found.held_since, found.blocked) == (PAIR[0], None, None, "no function")


def test_a_lock_whose_grant_is_on_its_way_and_one_that_nobody_knows_stay_as_they_are() -> None:
    assert tell(WAIT, ledger(PAIR[0], *request(OURS)), ledger(PAIR[1], *request(OURS))) is WAIT
    assert tell(WAIT) is WAIT


@pytest.mark.parametrize(("holder", "told_of"), [(OTHER, "other"), (ev.Origin("we", "1", 2), None)])
def test_an_operation_waits_for_the_lock_of_another_only(holder: ev.Origin, told_of: str | None) -> None:
    a = ledger(PAIR[0], *request(holder), ev.EntityOperationReceived("add", sender=OURS, expects_reply=True))
    assert tell(CALL, a).holder == told_of


def test_an_operation_at_a_blocked_entity_says_why() -> None:
    found = tell(CALL, ledger(PAIR[0], ev.ExecutionBlocked("no function")))
    assert isinstance(found, EntityWait)
    assert (found.name, found.blocked) == ("add", "no function")


def test_other_waits_are_left_alone_and_only_so_many_entities_are_looked_at() -> None:
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
