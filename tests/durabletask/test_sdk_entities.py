"""Entities that are written for the `durabletask` SDK, and orchestrators of the SDK that use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from durabletask import task
from durabletask.entities import DurableEntity, EntityContext, EntityInstanceId

from durablecli import testing
from durablecli.testing import TestEnvironment

SOON = timedelta(seconds=5)


@dataclass
class Line:
    item: str
    count: int


class Cart(DurableEntity):
    def put(self, line: Line) -> int:
        assert type(line) is Line
        lines = self.get_state(dict, {})
        lines[line.item] = lines.get(line.item, 0) + line.count
        self.set_state(lines)
        return len(lines)

    def total(self) -> int:
        return sum(self.get_state(dict, {}).values())

    def spoil(self, text: str) -> None:
        self.set_state({})
        raise ValueError(text)

    def read_as_int(self, _: Any) -> Any:
        return self.get_state(int)

    def order(self, _: Any) -> str:
        self.signal_entity(EntityInstanceId("tally", "all"), "add", self.total())
        return self.schedule_new_orchestration("ship", input=self.get_state(), instance_id="shipment")

    async def slow_total(self) -> int:
        await asyncio.sleep(0)
        return self.total()

    def _private(self) -> None:
        raise AssertionError


def tally(ctx: EntityContext, amount: int) -> Any:
    total = ctx.get_state(int, 0)
    if ctx.operation == "add":
        ctx.set_state(total + amount)
        if amount > 100:
            ctx.signal_entity(ctx.entity_id, "add", 1, signal_time=None)
    elif ctx.operation == "reset":
        ctx.set_state(None)
    elif ctx.operation != "get":
        raise LookupError(ctx.operation)
    return [str(ctx.entity_id), ctx.get_state(int, 0)]


def ship(ctx: task.OrchestrationContext, lines: Any) -> Any:
    yield ctx.create_timer(SOON)
    return lines


def shop(ctx: task.OrchestrationContext, item: str) -> Any:
    cart = EntityInstanceId("Cart", "mine")
    first = yield ctx.call_entity(cart, "put", Line(item, 1))
    second = yield ctx.call_entity(cart, "put", Line(item, 2))
    total = yield ctx.call_entity(cart, "total")
    return [first, second, total, (yield ctx.call_entity(cart, "order"))]


def fail(ctx: task.OrchestrationContext, operation: str) -> Any:
    cart = EntityInstanceId("cart", "mine")
    yield ctx.call_entity(cart, "put", Line("pen", 1))
    try:
        yield ctx.call_entity(cart, operation, "bang")
    except task.TaskFailedError as error:
        inner = error.details.inner_failure
        assert inner is not None
        return [str(error), inner.error_type, (yield ctx.call_entity(cart, "total"))]


def ask(ctx: task.OrchestrationContext, operation: str) -> Any:
    cart = EntityInstanceId("cart", "mine")
    yield ctx.call_entity(cart, "put", Line("pen", 1))
    return (yield ctx.call_entity(cart, operation))


def lock(ctx: task.OrchestrationContext, amount: int) -> Any:
    source, target = EntityInstanceId("tally", "a"), EntityInstanceId("tally", "b")
    with (yield ctx.lock_entities([source, target])):
        yield ctx.call_entity(source, "add", -amount)
        yield ctx.create_timer(SOON)
        found = yield task.when_all([ctx.call_entity(target, "add", amount), ctx.call_entity(source, "get")])
        refused = []
        for action in (
            lambda: ctx.signal_entity(source, "add", 1),
            lambda: ctx.call_entity(EntityInstanceId("tally", "c"), "get"),
            lambda: ctx.call_sub_orchestrator("ship"),
            lambda: ctx.lock_entities([source]),
        ):
            with pytest.raises(RuntimeError):
                action()
            refused.append(True)
    ctx.signal_entity(EntityInstanceId("tally", "c"), "add", 1)
    return [found, refused]


FUNCTIONS = (Cart, tally, ship, shop, fail, ask, lock)


@pytest.fixture
def hub(replay_always: bool) -> Iterator[TestEnvironment]:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        yield hub


def run(hub: TestEnvironment, name: str, input: Any) -> Any:
    status = hub.finish(hub.client.start_new(name, client_input=input))
    assert status.runtime_status is not None
    assert status.runtime_status.name == "Completed", status.output
    return status.output


def state(hub: TestEnvironment, id: str) -> Any:
    hub.run()
    return hub.client.read_entity_state(id).entity_state


def test_a_class_entity_with_typed_input(hub: TestEnvironment) -> None:
    assert run(hub, "shop", "pen") == [1, 1, 3, "shipment"]
    assert state(hub, "@Cart@mine") == {"pen": 3}
    assert state(hub, "@tally@all") == 3
    assert hub.finish("shipment").output == {"pen": 3}


@pytest.mark.parametrize(
    ("operation", "text", "kind"),
    [
        ("spoil", "bang", "builtins.ValueError"),
        ("missing", "Entity '@cart@mine' does not have operation 'missing'", "builtins.AttributeError"),
        ("_private", "Entity '@cart@mine' does not have operation '_private'", "builtins.AttributeError"),
    ],
)
def test_a_failed_operation_changes_nothing(hub: TestEnvironment, operation: str, text: str, kind: str) -> None:
    message = f"Operation '{operation}' on entity '@cart@mine' failed with error: {text}"
    assert run(hub, "fail", operation) == [message, kind, 1]


def test_a_state_of_another_type_is_refused(hub: TestEnvironment) -> None:
    assert run(hub, "fail", "read_as_int")[1] == "builtins.TypeError"


def test_delete_is_an_operation_of_every_class(hub: TestEnvironment) -> None:
    hub.client.signal_entity("@Cart@x", "put", {"item": "pen", "count": 1})
    assert state(hub, "@cart@x") == {"pen": 1}
    hub.client.signal_entity("@Cart@x", "delete")
    assert state(hub, "@cart@x") is None
    assert not hub.client.read_entity_state("@cart@x").entity_exists


def test_a_function_entity(hub: TestEnvironment) -> None:
    for operation, input in (("add", 1), ("add", 101), ("unknown", None), ("get", None)):
        hub.client.signal_entity("@tally@x", operation, input)
    assert state(hub, "@tally@x") == 103
    hub.client.signal_entity("@tally@x", "reset")
    assert state(hub, "@tally@x") is None


def test_an_asynchronous_operation(hub: TestEnvironment) -> None:
    assert run(hub, "ask", "slow_total") == 1


def test_locks(hub: TestEnvironment) -> None:
    first, second = (hub.client.start_new("lock", client_input=amount) for amount in (5, 7))
    assert hub.finish(first).output == [[["@tally@b", 5], ["@tally@a", -5]], [True] * 4]
    assert hub.finish(second).output == [[["@tally@b", 12], ["@tally@a", -12]], [True] * 4]
    assert state(hub, "@tally@c") == 2
