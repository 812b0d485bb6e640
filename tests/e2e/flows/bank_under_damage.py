"""A bank, and callers of every kind, for tests that damage their files."""

from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


@df.entity
def account(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 1000) + (context.get_input() or 0))
    context.set_result(context.get_state())


@df.activity
def fee(amount: int) -> int:
    return amount


@df.orchestrator
def transfer(context: df.DurableOrchestrationContext) -> Steps:
    given = context.get_input()
    source, target = (df.EntityId("account", each) for each in given["between"])
    amount = yield context.call_activity(fee, given["amount"])
    with (yield context.lock_entities([source, target])):
        yield context.call_entity(source, "add", -amount)
        yield context.call_entity(target, "add", amount)
    return amount


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Steps:
    first = yield context.wait_for_external_event("Go")
    second = yield context.call_activity(fee, 2)
    return [first, second]


@df.orchestrator
def family(context: df.DurableOrchestrationContext) -> Steps:
    results = yield context.task_all([context.call_sub_orchestrator(waits, None, f"child-{n}") for n in range(3)])
    return results
