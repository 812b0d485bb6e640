"""Limits of activities: rates and concurrency by key, priorities, restarts and cancelled calls."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

import durablecli as df
from durablecli import testing

Steps = Generator[Any, Any, Any]
SECOND = timedelta(seconds=1)
begun: list[tuple[str, datetime]] = []
current: list[testing.TestEnvironment] = []


def note(name: str) -> str:
    begun.append((name, current[-1].clock.now()))
    return name


def host(url: str) -> str:
    if url == "broken":
        raise LookupError("no host")
    if url == "exit":
        raise SystemExit(3)
    return {"odd": ["a list"], "long": "x" * 5_000 + url}.get(url, url.partition("/")[0])  # type: ignore[return-value]


@df.activity(rate="2/s", key=host)
def fetch(url: str) -> str:
    return note(url)


@df.activity(rate="1/10s")
def slow(name: str) -> str:
    return note(name)


@df.activity(max_concurrency=2, key=lambda name: name[0])
async def holds(name: str) -> str:
    note(name)
    await asyncio.sleep(60)
    return name


@df.activity(rate="1/s")
def fails_twice(name: str, context: df.ActivityContext) -> str:
    note(name)
    if context.attempt < 3:
        raise ConnectionError
    return name


@df.orchestrator
def fan(context: df.DurableOrchestrationContext) -> Steps:
    name, values = context.get_input()
    return (yield context.task_all([context.call_activity(name, value) for value in values]))


@df.orchestrator
def retries(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_activity(fails_twice, "r", retry=df.RetryPolicy(first=0, max_attempts=3)))


@df.orchestrator
def with_priorities(context: df.DurableOrchestrationContext) -> Steps:
    yield context.task_all([context.call_activity(slow, f"{p}{n}", priority=p) for n in "ab" for p in (0, -1, 5)])


FUNCTIONS = (fetch, slow, holds, fails_twice, fan, retries, with_priorities)


@pytest.fixture
def hub() -> Generator[testing.TestEnvironment, None, None]:
    begun.clear()
    with testing.hub(*FUNCTIONS) as environment:
        current.append(environment)
        yield environment
    current.clear()


def offsets(hub: testing.TestEnvironment, prefix: str = "") -> list[float]:
    return [(at - testing.START).total_seconds() for name, at in begun if name.startswith(prefix)]


def test_a_rate_holds_for_each_key_by_itself(hub: testing.TestEnvironment) -> None:
    urls = [f"{each}/{n}" for n in range(5) for each in ("a.org", "b.org")]
    status = hub.finish(hub.client.start_new(fan, client_input=["fetch", [*urls, "c.org/0"]]))
    assert status.output == [*urls, "c.org/0"]
    assert offsets(hub, "a.org") == offsets(hub, "b.org") == [0, 0, 1, 1, 2]
    assert offsets(hub, "c.org") == [0]
    assert [name for name, _ in begun if name.startswith("a.org")] == [f"a.org/{n}" for n in range(5)]


def test_a_concurrency_holds_for_each_key_by_itself(hub: testing.TestEnvironment) -> None:
    names = ["a1", "a2", "a3", "b1", "a4", "a5"]
    assert hub.finish(hub.client.start_new(fan, client_input=["holds", names])).output == names
    assert offsets(hub, "a") == [0, 0, 60, 60, 120]
    assert offsets(hub, "b") == [0]


def test_retries_count_as_beginnings(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(retries))
    assert offsets(hub) == [0, 1, 2]


def test_the_highest_priority_begins_first_and_within_one_the_oldest(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(with_priorities))
    assert [name for name, _ in begun] == ["5a", "5b", "0a", "0b", "-1a", "-1b"]
    assert all(later[1] - earlier[1] == 10 * SECOND for earlier, later in pairwise(begun))


def test_a_restart_forgets_no_beginning(hub: testing.TestEnvironment) -> None:
    id = hub.client.start_new(fan, client_input=["slow", ["a", "b", "c"]])
    hub.run()
    hub.restart()
    hub.run()
    assert offsets(hub) == [0]
    hub.advance(4 * SECOND)
    hub.run()
    hub.restart()
    assert hub.finish(id).output == ["a", "b", "c"]
    assert offsets(hub) == [0, 10, 20]


@pytest.mark.parametrize("offset", [timedelta(seconds=9.99), timedelta(days=150, seconds=0.7)])
def test_times_that_are_rounded_hold_no_call_back(hub: testing.TestEnvironment, offset: timedelta) -> None:
    hub.advance(offset)
    status = hub.finish(hub.client.start_new(fan, client_input=["slow", list("abcdef")]))
    assert status.output == list("abcdef")
    assert offsets(hub) == pytest.approx([offset.total_seconds() + 10 * n for n in range(6)], abs=1e-5)


def test_terminated_calls_give_up_their_place(hub: testing.TestEnvironment) -> None:
    first = hub.client.start_new(fan, client_input=["slow", ["a", "b", "c"]])
    second = hub.client.start_new(fan, client_input=["slow", ["d"]])
    hub.run()
    hub.client.terminate(first, "enough")
    assert hub.finish(second).output == ["d"]
    assert [name for name, _ in begun] == ["a", "d"]
    assert offsets(hub) == [0, 10]
    assert hub.engine.dispatcher is not None
    assert hub.engine.dispatcher.in_flight_count == 0


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("broken", "the key function of activity 'fetch' raised LookupError: no host"),
        ("exit", "the key function of activity 'fetch' raised SystemExit: 3"),
        ("odd", "the key function of activity 'fetch' returned a list; a key is a text"),
    ],
)
def test_a_key_function_that_fails_fails_the_call(hub: testing.TestEnvironment, url: str, text: str) -> None:
    status = hub.finish(hub.client.start_new(fan, client_input=["fetch", [url]]))
    assert text in str(status.output)
    assert begun == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1/h", "2/s", [0, 0, 1, 1]),
        ("1/h", None, [0, 0, 0, 0]),
        ("2/s", "1/10s", [0, 0, 10, 20]),
    ],
)
def test_queued_calls_wait_for_the_limits_of_the_new_code(old: str, new: str | None, expected: list[float]) -> None:
    def declare(rate: str | None) -> Any:
        return df.activity(name="limited", rate=rate)(note)

    begun.clear()
    with testing.hub(declare(old), fan) as hub:
        current.append(hub)
        id = hub.client.start_new(fan, client_input=["limited", ["a", "b", "c", "d"]])
        hub.run()
        hub.engine.code.request(testing.build_registry(declare(new), fan))
        hub.finish(id)
        assert offsets(hub) == expected
    current.clear()


def test_groups_that_no_call_needs_are_forgotten(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(fan, client_input=["fetch", [f"{n}.org/" for n in range(50)] + ["long"]]))
    assert hub.engine.dispatcher is not None
    limiter = hub.engine.dispatcher.limited.limiter
    assert len(limiter._groups) == 51
    hub.advance(2 * SECOND)
    assert (len(limiter._groups), limiter.next_due) == (0, None)
