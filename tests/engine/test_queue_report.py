"""What the engine reports of queued calls: their places, and no more of them than a file should hold."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

import durablecli as df
from durablecli import testing
from durablecli.engine.queue_report import list_limited, list_queued
from durablecli.engine.workers.dispatcher import Dispatcher


@df.activity(rate="2/h", key=lambda value: str(value % 3))
def limited(value: int) -> int:
    return value


@df.activity
def plain(value: int) -> int:
    return value


@df.orchestrator
def fan(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    name, count, priority = context.get_input()
    yield context.task_all([context.call_activity(name, value, priority=priority) for value in range(count)])


def start(hub: testing.TestEnvironment, name: str, count: int, priority: int = 0) -> Dispatcher:
    hub.client.start_new(fan, client_input=[name, count, priority])
    with hub.engine.log_capture:
        while hub.engine.step():
            pass
    dispatcher = hub.engine.dispatcher
    assert dispatcher is not None
    return dispatcher


def test_calls_are_counted_in_the_queue_of_their_limit_or_pool() -> None:
    with testing.hub(limited, plain, fan) as hub:
        start(hub, "plain", 3)
        dispatcher = start(hub, "limited", 9)
        found = [(each.call.function.name, each.key, each.ahead) for each in list_queued(dispatcher, set())]
        assert found[:3] == [("plain", None, n) for n in range(3)]
        assert found[-3:] == [("limited", key, 0) for key in "012"]
        waiting = [*list_limited(dispatcher, hub.clock.now())]
        assert [(each.key, each.queued, each.rate) for each in waiting] == [(key, 1, "2 per 3600 s") for key in "012"]


def test_a_call_of_a_higher_priority_is_behind_fewer() -> None:
    with testing.hub(plain, fan) as hub:
        start(hub, "plain", 4)
        dispatcher = start(hub, "plain", 1, priority=1)
        assert [each.ahead for each in list_queued(dispatcher, set()) if each.call.priority] == [0]


def test_the_report_of_many_calls_is_bounded_and_has_some_of_each_execution() -> None:
    with testing.hub(plain, fan) as hub:
        start(hub, "plain", 3_000)
        dispatcher = start(hub, "plain", 2)
        found = list_queued(dispatcher, set())
        assert [each.ahead for each in found] == [*range(100), 3_000, 3_001]
        assert len(msgspec.json.encode([each.ahead for each in found])) < 1_000
