"""The functions that the tests of the dashboard start."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import durablecli as df


@df.activity
def work(seconds: float) -> str:
    sleep(seconds)
    return "done"


@df.activity
def check(number: int) -> int:
    """Fails for some numbers, unless there is a file `mended` in the folder of the daemon."""
    print(f"checking order {number}")
    if number % 7 == 3 and not Path("mended").exists():
        raise ValueError(f"{number} is not what was ordered")
    return number


@df.orchestrator
def approval(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    context.set_custom_status("waiting for the boss")
    return (yield context.wait_for_external_event("Approved"))


@df.orchestrator
def fan_out(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    """Runs as many activities as `count`, each of `seconds`, all at once."""
    plan = context.get_input() or {}
    tasks = [context.call_activity(work, plan.get("seconds", 0.1)) for _ in range(plan.get("count", 5))]
    return len((yield context.task_all(tasks)))


@df.orchestrator
def orders(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[int]]:
    """Fails, as some checks do, until the app is mended."""
    checks = [context.call_activity(check, number) for number in range(context.get_input() or 8)]
    numbers: list[int] = yield context.task_all(checks)
    return numbers


@df.orchestrator
def greet(context: df.DurableOrchestrationContext) -> str:
    return f"Hello, {context.get_input()}!"


@dataclass
class Parcel:
    """A parcel to send."""

    id: int
    "The number of the parcel."
    city: str
    express: bool = False


@df.orchestrator
def send(context: df.DurableOrchestrationContext, parcel: Parcel) -> list[Any]:
    return [parcel.id, parcel.city, parcel.express]


@df.orchestrator
def family(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[Any]]:
    """Two children: one ends, and the other waits for an event."""
    first = yield context.call_sub_orchestrator(greet, "child", instance_id=f"{context.instance_id}-greet")
    second = yield context.call_sub_orchestrator(approval, instance_id=f"{context.instance_id}-approval")
    return [first, second]


@df.orchestrator
def count(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    """Adds to an entity, and waits for its answer."""
    counter_id = df.EntityId("counter", context.get_input() or "main")
    yield context.call_entity(counter_id, "add", 1)
    return int((yield context.call_entity(counter_id, "get")))


@df.entity
class counter:  # noqa: N801  named as an entity is
    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def get(self) -> int:
        return self.value
