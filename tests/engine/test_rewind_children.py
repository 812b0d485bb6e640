"""Rewind and children: what a child has completed since its failure is used, and not repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import WrongState
from durablecli.model import events as ev

Context = df.DurableOrchestrationContext
SECOND = timedelta(seconds=1)
RETRY = df.RetryPolicy(SECOND, 2)


class Shop:
    """A child charges and then ships, which fails until it is mended; its parents wait for it in several ways."""

    def __init__(self, replay_always: bool) -> None:
        self.is_repaired = False
        self.charges: Counter[str] = Counter()
        self.hub = testing.hub(*self._functions(), replay_always=replay_always)

    def _functions(self) -> list[Any]:
        @df.activity
        def charge(order: Any, context: df.ActivityContext) -> str:
            self.charges[context.idempotency_key] += 1
            return "charged"

        @df.activity
        def ship(order: Any) -> str:
            if not self.is_repaired:
                raise ConnectionError("no courier")
            return "shipped"

        @df.orchestrator
        def order(context: Context) -> Any:
            yield context.call_activity(charge)
            if context.get_input() == "slow":
                yield context.wait_for_external_event("Go")
            return (yield context.call_activity(ship))

        @df.orchestrator
        def shop(context: Context) -> Any:
            how, id = context.get_input()
            if how == "retry":
                return (yield context.call_sub_orchestrator_with_retry(order, RETRY, None, id))
            task = context.call_sub_orchestrator(order, "slow" if how == "slow" else None, id)
            if how == "all":
                shipped, _ = yield context.task_all([task, context.wait_for_external_event("Paid")])
                return shipped
            if how == "caught":
                try:
                    return (yield task)
                except ConnectionError as error:
                    raise RuntimeError("no delivery") from error
            return (yield task)

        return [charge, ship, order, shop]

    def start(self, how: str, id: str | None = None) -> None:
        self.hub.client.start_new("shop", "p", [how, id])
        self.hub.run()

    def child(self, index: int = 0) -> str:
        created = [each.event for each in self.hub.client.get_history("p")]
        return [each.instance for each in created if isinstance(each, ev.SubOrchestrationInstanceCreated)][index]

    def rewind(self, id: str) -> None:
        self.hub.client.rewind(id)
        self.hub.run()

    def status(self, id: str = "p") -> str:
        status = self.hub.client.get_status(id).runtime_status
        return status.value if status is not None else "unknown"

    @property
    def charge_count(self) -> int:
        return sum(self.charges.values())


@pytest.fixture
def shop(replay_always: bool) -> Iterator[Shop]:
    shop = Shop(replay_always)
    yield shop
    shop.hub.close()


@pytest.mark.parametrize("id", [None, "own"], ids=["no id", "own id"])
@pytest.mark.parametrize("how", ["one", "caught"])
@pytest.mark.parametrize("restart", [False, True], ids=["live", "restarted"])
def test_a_child_that_was_rewound_before_its_parent_is_not_begun_again(
    shop: Shop, how: str, id: str | None, restart: bool
) -> None:
    shop.start(how, id)
    assert (shop.status(), shop.charge_count) == ("Failed", 1)
    shop.is_repaired = True
    shop.rewind(shop.child())
    assert (shop.status(), shop.status(shop.child())) == ("Failed", "Completed")
    if restart:
        shop.hub.restart()
    assert shop.hub.client.rewind_preview("p") == []
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 1)
    assert shop.hub.client.get_status("p").output == "shipped"


def test_a_child_that_was_rewound_while_its_parent_waited_is_not_begun_again(shop: Shop) -> None:
    shop.start("all")
    assert shop.status() == "Running"
    shop.is_repaired = True
    shop.rewind(shop.child())
    shop.hub.client.raise_event("p", "Paid")
    shop.hub.run()
    assert shop.status() == "Failed"
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 1)


def test_a_child_that_was_rewound_and_still_runs_answers_its_rewound_parent(shop: Shop) -> None:
    shop.start("slow")
    shop.hub.client.raise_event(shop.child(), "Go")
    shop.hub.run()
    assert shop.status() == "Failed"
    shop.rewind("p")
    assert shop.status() == "Failed", "it still has no courier"
    shop.is_repaired = True
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 1)


@pytest.mark.parametrize("id", [None, "own"], ids=["no id", "own id"])
def test_an_attempt_that_was_rewound_answers_for_the_next_one(shop: Shop, id: str | None) -> None:
    shop.start("retry", id)
    assert (shop.status(), shop.charge_count) == ("Running", 1)
    shop.is_repaired = True
    shop.rewind(shop.child())
    assert shop.hub.finish("p").output == "shipped"
    assert shop.charge_count == 1


@pytest.mark.parametrize("id", [None, "own"], ids=["no id", "own id"])
def test_a_later_attempt_that_was_rewound_answers_its_rewound_parent(shop: Shop, id: str | None) -> None:
    shop.start("retry", id)
    shop.hub.advance(SECOND)
    assert (shop.status(), shop.charge_count) == ("Failed", 2)
    shop.is_repaired = True
    shop.rewind(shop.child(1))
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 2)


@pytest.mark.parametrize("id", [None, "own"], ids=["no id", "own id"])
@pytest.mark.parametrize("how", ["one", "all", "retry"])
def test_a_child_that_was_restarted_under_its_id_answers_its_rewound_parent(
    shop: Shop, how: str, id: str | None
) -> None:
    shop.start(how, id)
    if how == "all":
        shop.hub.client.raise_event("p", "Paid")
    shop.hub.advance(SECOND)
    assert shop.status() == "Failed"
    shop.is_repaired = True
    before = shop.charge_count
    shop.hub.client.restart(shop.child(-1), restart_with_new_instance_id=False)
    shop.hub.run()
    shop.rewind("p")
    assert shop.hub.finish("p").output == "shipped"
    assert shop.charge_count == before + 1, "the restart alone has charged"


def test_a_child_that_was_restarted_and_still_runs_answers_its_rewound_parent(shop: Shop) -> None:
    shop.start("slow")
    shop.hub.client.raise_event(shop.child(), "Go")
    shop.hub.run()
    shop.is_repaired = True
    shop.hub.client.restart(shop.child(), restart_with_new_instance_id=False)
    shop.hub.run()
    shop.rewind("p")
    assert shop.status() == "Running"
    shop.hub.client.raise_event(shop.child(), "Go")
    assert shop.hub.finish("p").output == "shipped"
    assert shop.charge_count == 2


def test_a_child_that_was_replaced_by_a_start_answers_its_rewound_parent(shop: Shop) -> None:
    shop.start("one", "own")
    shop.is_repaired = True
    shop.hub.client.start_new("order", "own", "slow")
    shop.hub.run()
    with pytest.raises(WrongState, match="own is still running: rewind p after it has ended"):
        shop.hub.client.rewind("p")
    shop.hub.client.raise_event("own", "Go")
    shop.hub.run()
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 2)


def test_an_earlier_instance_of_the_childs_id_answers_no_parent(shop: Shop) -> None:
    shop.is_repaired = True
    shop.hub.client.start_new("order", "own")
    shop.start("one", "own")
    assert shop.status() == "Failed"
    shop.rewind("p")
    assert shop.status() == "Failed"
    shop.hub.client.purge_instance_history("own")
    shop.rewind("p")
    assert (shop.status(), shop.charge_count) == ("Completed", 2)


def test_a_child_that_was_terminated_is_started_again(shop: Shop) -> None:
    shop.start("slow")
    shop.hub.client.terminate(shop.child(), "no")
    shop.hub.run()
    shop.is_repaired = True
    shop.rewind("p")
    shop.hub.client.raise_event(shop.child(), "Go")
    assert shop.hub.finish("p").output == "shipped"


def test_an_id_that_two_children_of_one_turn_ask_for_is_taken_by_the_first() -> None:
    @df.orchestrator
    def child(context: Context) -> Any:
        return context.instance_id

    @df.orchestrator
    def parent(context: Context) -> Any:
        first, second = (context.call_sub_orchestrator(child, None, "same") for _ in range(2))
        try:
            yield second
        except df.TaskFailedError as error:
            return [(yield first), str(error)]

    with testing.hub(child, parent) as hub:
        status = hub.finish(hub.client.start_new(parent))
        assert status.output[0] == "same"
        assert "instance id 'same' already exists" in status.output[1]
        assert "pid" not in status.output[1]
        assert "process" not in status.output[1]
