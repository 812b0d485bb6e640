"""The workflows behind the golden histories, and how these were recorded.

`python -m tests.golden.scenario FOLDER` records the histories of a new release. Those of earlier releases never change:
they are on users' disks.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import durablecli as df
from durablecli import testing
from durablecli.model.entity_id import is_entity_id
from durablecli.store.history.file import history_path

Steps = Generator[Any, Any, Any]
A, B, C = (df.EntityId("counter", key) for key in "abc")
RECORDED_IDS = ("tour", "tour-child", "asker", "owner", "waiter", "broken", "eternal", "early", *map(str, (A, B, C)))


@df.activity
def greet(name: str) -> str:
    if not name:
        raise ValueError("no name")
    return f"Hello {name}!"


@df.entity
class Counter:
    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def fail(self) -> None:
        raise ValueError("not today")


@df.orchestrator
def child(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_activity(greet, context.get_input()))


@df.orchestrator
def tour(context: df.DurableOrchestrationContext) -> Steps:
    """Timers fired and cancelled, an event taken and one sent, a retry that fails, a child, custom status."""
    first = yield context.call_activity(greet, "Tokyo")
    yield context.create_timer(timedelta(hours=1))
    told, late = context.wait_for_external_event("Guide"), context.create_timer(timedelta(days=3))
    assert (yield context.task_any([told, late])) is told
    late.cancel()
    context.set_custom_status({"guide": told.result})
    try:
        yield context.call_activity_with_retry(greet, df.RetryOptions(1000, 2), "")
    except ValueError as error:
        failed = str(error)
    else:
        failed = ""
    both = yield context.task_all(
        [context.call_sub_orchestrator(child, "Paris", "tour-child"), context.call_activity(greet, "Lima")]
    )
    context.send_event("asker", "News", "the tour is over")
    return [first, failed, *both]


@df.orchestrator
def asker(context: df.DurableOrchestrationContext) -> Steps:
    """Waits for an event that an orchestration sends, then asks an entity."""
    news = yield context.wait_for_external_event("News")
    context.signal_entity(A, "add", 1, at=timedelta(hours=2))
    context.signal_entity(B, "fail")
    return [news, (yield context.call_entity(A, "add", 5))]


@df.orchestrator
def owner(context: df.DurableOrchestrationContext) -> Steps:
    """Holds two locks until an event."""
    with (yield context.lock_entities([B, A])):
        total = yield context.call_entity(A, "add", 10)
        yield context.wait_for_external_event("Go")
    return total


@df.orchestrator
def broken(context: df.DurableOrchestrationContext) -> Steps:
    """Fails, and is rewound after the name exists."""
    return (yield context.call_activity(greet, context.get_input()))


@df.orchestrator
def eternal(context: df.DurableOrchestrationContext) -> Steps:
    """Continues as new, keeping unread events."""
    rounds = context.get_input()
    yield context.wait_for_external_event("Tick")
    if rounds > 1:
        context.continue_as_new(rounds - 1)
    return "done"


@df.orchestrator
def spree(context: df.DurableOrchestrationContext) -> None:
    """Sends so much at once that the log of the entity is compacted."""
    for _ in range(context.get_input()):
        context.signal_entity(C, "add", 1)


FUNCTIONS = (greet, Counter, child, tour, asker, owner, broken, eternal, spree)


def run_scenario(hub: testing.TestEnvironment) -> None:
    """Run all workflows, some of them not to their end."""
    client = hub.client
    client.start_new(tour, "tour", version="1.2")
    client.start_new(asker, "asker")
    client.start_new(broken, "broken", "")
    client.start_new(eternal, "eternal", 3)
    client.start_new(child, "early", "Rome", start_at=hub.clock.now() + timedelta(days=30))
    hub.advance(timedelta(hours=1))
    client.suspend("tour", "audit")
    client.raise_event("tour", "Guide", {"who": "K"})
    hub.run()
    client.resume("tour")
    client.suspend("eternal")
    for number in range(3):
        client.raise_event("eternal", "Tick", number)
    client.resume("eternal")
    hub.advance(timedelta(minutes=1))
    for count in (3_000, 2):
        client.start_new(spree, client_input=count)
        hub.run()
    client.start_new(owner, "owner")
    client.start_new(owner, "waiter")
    hub.run()
    client.raise_event("owner", "Go")
    client.rewind("broken", "once more")
    hub.advance(timedelta(hours=1))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    with testing.hub(*FUNCTIONS) as hub:
        run_scenario(hub)
        for name in RECORDED_IDS:
            kind = "entity" if is_entity_id(name) else "instance"
            data = hub.disk.read(history_path("hub", name))
            (folder / f"{kind}-{name.strip('@').replace('@', '-')}.jsonl").write_bytes(data)


if __name__ == "__main__":
    main()
