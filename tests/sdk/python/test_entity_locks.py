"""Critical sections over entities with the Python SDK."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task
from durabletask.client import OrchestrationStatus
from durabletask.entities import DurableEntity, EntityInstanceId

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, entity_id
from tests.support.waiting import wait_until


class Account(DurableEntity):
    """A balance."""

    def deposit(self, amount: int) -> int:
        self.set_state(self.get_state(int, 0) + amount)
        return self.get_state(int, 0)

    def balance(self) -> int:
        return self.get_state(int, 0)


def accounts(keys: list[str]) -> list[EntityInstanceId]:
    return [EntityInstanceId("Account", key) for key in keys]


def transfer(context: Context, what: dict[str, Any]) -> Turns:
    source, target = accounts([what["from"], what["to"]])
    with (yield context.lock_entities([source, target])):
        balance = yield context.call_entity(source, "balance")
        if balance < what["amount"]:
            return False
        yield context.create_timer(timedelta(seconds=0.02))
        yield context.call_entity(source, "deposit", -what["amount"])
        yield context.call_entity(target, "deposit", what["amount"])
    return True


def increment_slowly(context: Context, key: str) -> Turns:
    (account,) = accounts([key])
    with (yield context.lock_entities([account])):
        value = yield context.call_entity(account, "balance")
        yield context.create_timer(timedelta(seconds=0.02))
        yield context.call_entity(account, "deposit", 1)
    return value


def hold(context: Context, keys: list[str]) -> Turns:
    with (yield context.lock_entities(accounts(keys))):
        context.set_custom_status("holds")
        yield context.wait_for_external_event("Release")
    return "released"


def hold_and_fail(context: Context, key: str) -> Turns:
    with (yield context.lock_entities(accounts([key]))):
        raise ValueError("inside")


def lock_twice(context: Context, key: str) -> Turns:
    (account,) = accounts([key])
    found = []
    for _ in range(3):
        with (yield context.lock_entities([account])):
            found.append((yield context.call_entity(account, "deposit", 1)))
    return found


def break_the_rules(context: Context, what: list[str]) -> Turns:
    rule, key, other = what
    account, outside = accounts([key, other])
    with (yield context.lock_entities([account])):
        try:
            match rule:
                case "other entity":
                    yield context.call_entity(outside, "balance")
                case "signal":
                    context.signal_entity(account, "deposit", 1)
                case "second lock":
                    yield context.lock_entities([outside])
        except (RuntimeError, ValueError) as error:
            return str(error)
    return None


def deposit_everywhere(context: Context, keys: list[str]) -> Turns:
    entities = accounts(keys)
    with (yield context.lock_entities(entities)):
        return (yield task.when_all([context.call_entity(each, "deposit", 1) for each in entities]))


FUNCTIONS = [
    Account, transfer, increment_slowly, hold, hold_and_fail, lock_twice, break_the_rules, deposit_everywhere,
]  # fmt: skip


def test_a_transfer(hub: SdkHub) -> None:
    first, second = entity_id(Account), entity_id(Account)
    hub.client.signal_entity(first, "deposit", 100)
    assert hub.run(transfer, {"from": first.key, "to": second.key, "amount": 60}) is True
    assert hub.run(transfer, {"from": first.key, "to": second.key, "amount": 60}) is False
    assert (hub.entity_state(first), hub.entity_state(second)) == (40, 60)


def test_transfers_in_both_directions_at_once(hub: SdkHub) -> None:
    first, second = entity_id(Account), entity_id(Account)
    for account in (first, second):
        hub.client.signal_entity(account, "deposit", 100)
    pairs = [(first.key, second.key), (second.key, first.key)] * 5
    instances = [hub.start(transfer, {"from": one, "to": other, "amount": 10}) for one, other in pairs]
    assert [hub.wait(each).get_output() for each in instances] == [True] * 10
    assert (hub.entity_state(first), hub.entity_state(second)) == (100, 100)


def test_sections_exclude_each_other(hub: SdkHub) -> None:
    account = entity_id(Account)
    instances = [hub.start(increment_slowly, account.key) for _ in range(8)]
    assert sorted(hub.wait(each).get_output() for each in instances) == list(range(8))


def test_the_same_section_again(hub: SdkHub) -> None:
    assert hub.run(lock_twice, entity_id(Account).key) == [1, 2, 3]


@daemon_only
def test_a_signal_waits_for_the_end_of_the_section(hub: SdkHub) -> None:
    account = entity_id(Account)
    holder = hub.start(hold, [account.key])
    hub.wait_for_custom_status(holder, "holds")
    hub.client.signal_entity(account, "deposit", 5)
    found = wait_until(lambda: hub.client.get_entity(account))
    assert found.backlog_queue_size <= 1
    assert hub.entity_state(account) is None
    hub.client.raise_orchestration_event(holder, "Release")
    assert hub.wait(holder).get_output() == "released"
    hub.wait_for_entity_state(account, 5)


def test_a_failure_releases_the_lock(hub: SdkHub) -> None:
    account = entity_id(Account)
    failed = hub.wait(hub.start(hold_and_fail, account.key))
    assert failed.runtime_status is OrchestrationStatus.FAILED
    assert hub.run(increment_slowly, account.key) == 0


@daemon_only
def test_terminate_releases_the_lock(hub: SdkHub) -> None:
    account = entity_id(Account)
    holder = hub.start(hold, [account.key])
    hub.wait_for_custom_status(holder, "holds")
    hub.client.terminate_orchestration(holder)
    hub.wait(holder)
    assert hub.run(increment_slowly, account.key) == 0


def test_the_rules_of_a_section(hub: SdkHub) -> None:
    """The SDK itself enforces them; the section must end nevertheless."""
    for rule in ("other entity", "signal", "second lock"):
        account, other = entity_id(Account), entity_id(Account)
        message = hub.run(break_the_rules, [rule, account.key, other.key])
        assert message, rule
        assert hub.run(increment_slowly, account.key) == 0, rule


def test_locks_taken_in_any_order(hub: SdkHub) -> None:
    first, second, third = (entity_id(Account).key for _ in range(3))
    sets = [[first, second], [second, third], [third, first], [first, second, third]]
    holders = [hub.start(hold, keys) for keys in sets * 2]
    for holder in holders:
        hub.client.raise_orchestration_event(holder, "Release")
    assert [hub.wait(each).get_output() for each in holders] == ["released"] * 8


def test_a_lock_of_entities_that_are_named_twice(hub: SdkHub) -> None:
    key = entity_id(Account).key
    holder = hub.start(hold, [key, key])
    hub.client.raise_orchestration_event(holder, "Release")
    assert hub.wait(holder).get_output() == "released"


def test_when_all_over_locked_entities(hub: SdkHub) -> None:
    assert hub.run(deposit_everywhere, keys := [entity_id(Account).key for _ in range(3)]) == [1, 1, 1]
    assert [hub.entity_state(each) for each in accounts(keys)] == [1, 1, 1]
