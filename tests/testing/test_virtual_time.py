"""What async activities wait for in a hub in memory takes the time of its clock, and no real time."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import TimedOut
from durablecli.model.events import TaskCompleted

Context = df.DurableOrchestrationContext
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
said: list[Any] = []


@df.activity
async def sleeps(seconds: float) -> float:
    said.append(f"begins {seconds:g}")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        said.append("cancelled")
        raise
    said.append(f"ends {seconds:g}")
    return seconds


@df.activity
async def hangs(value: object) -> None:
    await asyncio.Event().wait()


@df.activity(heartbeat_timeout=30)
async def beats(pauses: list[float], context: df.ActivityContext) -> str:
    for pause in pauses:
        await asyncio.sleep(pause)
        context.heartbeat()
    return "done"


@df.activity(rate="1/10s")
async def limited(seconds: float) -> None:
    said.append(f"begins {seconds:g}")
    await asyncio.sleep(seconds)


@df.activity
async def busy(seconds: float, context: df.ActivityContext) -> int:
    await asyncio.sleep(1)
    if context.attempt < 3:
        raise df.RetryAfter(seconds)
    return context.attempt


@df.orchestrator
def one(context: Context) -> Any:
    name, value, options = context.get_input()
    if "first" in options:
        options = {"retry": df.RetryPolicy(first=options.pop("first"), max_attempts=3), **options}
    try:
        return (yield context.call_activity(name, value, **options))
    except df.ActivityTimedOut as error:
        return str(error)


@df.orchestrator
def many(context: Context) -> Any:
    name, values = context.get_input()
    return (yield context.task_all([context.call_activity(name, each) for each in values]))


@df.orchestrator
def races(context: Context) -> Any:
    seconds, limit = context.get_input()
    call = context.call_activity(sleeps, seconds)
    timer = context.create_timer(timedelta(seconds=limit))
    winner = yield context.task_any([call, timer])
    return "activity" if winner == call else "timer"


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    said.clear()
    with testing.hub(sleeps, hangs, beats, limited, busy, one, many, races) as hub:
        yield hub


def now(hub: testing.TestEnvironment) -> timedelta:
    return hub.clock.now() - testing.START


def call(hub: testing.TestEnvironment, name: str, value: Any, **options: Any) -> Any:
    return hub.finish(hub.client.start_new(one, client_input=[name, value, options])).output


def test_a_sleep_takes_the_time_of_the_clock(hub: testing.TestEnvironment) -> None:
    began = time.monotonic()
    assert call(hub, "sleeps", 3600) == 3600
    assert now(hub) == HOUR
    assert time.monotonic() - began < 1800


def test_a_sleep_ends_when_the_test_lets_its_time_pass(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(one, "a", ["sleeps", 3600, {}])
    hub.advance(59 * MINUTE)
    assert said == ["begins 3600"]
    hub.advance(MINUTE)
    assert said == ["begins 3600", "ends 3600"]
    assert hub.client.get_status("a").output == 3600


@pytest.mark.parametrize(
    ("seconds", "limit", "winner", "at"),
    [
        (3600, 1800, "timer", 1800),
        (1800, 3600, "activity", 1800),
        (0.1, 0.2, "activity", 0.1),
        (60, 60, "activity", 60),
    ],
)
def test_a_sleep_and_a_timer_end_in_the_order_of_their_times(
    hub: testing.TestEnvironment, seconds: float, limit: float, winner: str, at: float
) -> None:
    assert hub.finish(hub.client.start_new(races, client_input=[seconds, limit])).output == winner
    assert now(hub) == timedelta(seconds=at)


def test_the_loser_of_a_race_is_cancelled(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(races, client_input=[3600, 1800]))
    assert said == ["begins 3600", "cancelled"]


def test_calls_sleep_at_the_same_time(hub: testing.TestEnvironment) -> None:
    assert hub.finish(hub.client.start_new(many, client_input=["sleeps", [30, 10, 20]])).output == [30, 10, 20]
    assert said == ["begins 30", "begins 10", "begins 20", "ends 10", "ends 20", "ends 30"]
    assert now(hub) == 30 * SECOND


def test_sleeps_that_end_at_one_time_are_recorded_in_the_order_of_their_begin(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(many, "a", ["sleeps", [60] * 8]))
    history = [record.event for record in hub.client.get_history("a")]
    ended = [event.task for event in history if isinstance(event, TaskCompleted)]
    assert len(ended) == 8
    assert ended == sorted(ended)


def test_a_time_out_passes_by_the_clock(hub: testing.TestEnvironment) -> None:
    assert "ran longer than 60 s" in call(hub, "sleeps", 3600, timeout=60)
    assert now(hub) == MINUTE
    assert said == ["begins 3600", "cancelled"]
    assert call(hub, "sleeps", 59, timeout=60) == 59
    assert "ran longer" in call(hub, "hangs", None, timeout=60)


def test_heartbeats_are_due_by_the_clock(hub: testing.TestEnvironment) -> None:
    assert call(hub, "beats", [29, 29, 30, 1]) == "done"
    assert now(hub) == 89 * SECOND
    assert "sent no heartbeat for 30 s" in call(hub, "beats", [10, 31])
    assert now(hub) == 129 * SECOND


def test_retries_wait_by_the_clock(hub: testing.TestEnvironment) -> None:
    assert call(hub, "busy", 600, first=1) == 3
    assert now(hub) == 20 * MINUTE + 3 * SECOND


def test_a_time_out_is_retried_by_the_clock(hub: testing.TestEnvironment) -> None:
    assert "ran longer" in call(hub, "hangs", None, timeout=60, first=30)
    assert now(hub) == 240 * SECOND


def test_rates_count_by_the_clock(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(many, client_input=["limited", [1, 100, 2]]))
    assert now(hub) == 110 * SECOND


def test_a_restart_begins_a_sleep_again(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(one, "a", ["sleeps", 3600, {}])
    hub.advance(30 * MINUTE)
    hub.restart()
    assert hub.finish("a").output == 3600
    assert now(hub) == 90 * MINUTE
    assert said == ["begins 3600", "cancelled", "begins 3600", "ends 3600"]


def test_termination_cancels_a_sleep(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(one, "a", ["sleeps", 3600, {}])
    hub.run()
    hub.client.terminate("a", "no")
    hub.run()
    assert said == ["begins 3600", "cancelled"]
    assert now(hub) == timedelta()


def test_a_call_that_can_not_end_is_named_at_once(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(one, "a", ["hangs", None, {}])
    with pytest.raises(TimedOut, match="it is waiting for activity hangs"):
        hub.finish("a")


@df.entity
async def slow(context: df.DurableEntityContext) -> None:
    seconds = context.get_input()
    await asyncio.sleep(seconds)
    said.append(f"{context.entity_key} {seconds}")
    context.set_state(seconds)
    context.set_result(seconds)


@df.entity
class Slow:
    def __init__(self) -> None:
        self.total = 0

    async def add(self, seconds: int) -> int:
        await asyncio.sleep(seconds)
        self.total += seconds
        return self.total


@df.orchestrator
def asks(context: Context) -> Any:
    calls = [context.call_entity(df.EntityId(*at), "add", value) for at, value in context.get_input()]
    timer = context.create_timer(MINUTE)
    is_late = (yield context.task_any([*calls, timer])) == timer
    return [is_late, *(yield context.task_all(calls))]


def test_operations_of_entities_wait_by_the_clock() -> None:
    said.clear()
    with testing.hub(slow, asks) as hub:
        requests = [(("slow", "a"), 3600), (("slow", "b"), 120), (("slow", "b"), 60)]
        assert hub.finish(hub.client.start_new(asks, client_input=requests)).output == [True, 3600, 120, 60]
        assert now(hub) == HOUR
        assert said == ["b 120", "b 60", "a 3600"]


def test_methods_of_entities_wait_by_the_clock() -> None:
    with testing.hub(Slow, asks) as hub:
        requests = [(("Slow", "a"), 10), (("Slow", "a"), 20)]
        assert hub.finish(hub.client.start_new(asks, client_input=requests)).output == [False, 10, 30]
        assert now(hub) == 30 * SECOND
        hub.client.signal_entity("@Slow@a", "add", 3600)
        hub.advance(MINUTE)
        hub.restart()
        hub.advance(HOUR)
        assert hub.client.entity("@Slow@a").state == {"total": 3630}


@df.resource
async def session() -> AsyncIterator[str]:
    said.append("opens")
    await asyncio.sleep(60)
    yield "session"
    await asyncio.sleep(1)
    said.append("closed")


@df.activity
async def uses(value: object, found: str = df.Depends(session)) -> str:
    await asyncio.sleep(60)
    return found


def test_async_resources_are_shared_and_torn_down_in_no_time() -> None:
    said.clear()
    with testing.hub(uses, one, many) as hub:
        assert hub.finish(hub.client.start_new(many, client_input=["uses", [1, 2]])).output == ["session", "session"]
        assert now(hub) == 2 * MINUTE
        assert said == ["opens"]
        hub.override(session, "other")
        assert said == ["opens", "closed"]
        assert call(hub, "uses", 1) == "other"
        assert now(hub) == 3 * MINUTE


def test_a_hub_that_is_not_closed_warns_of_nothing() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hub = testing.hub(sleeps, one)
        call(hub, "sleeps", 1)
        del hub
        gc.collect()
    assert [str(each.message) for each in caught if "VirtualEventLoop" in str(each.message)] == []


@df.activity
async def waits_by_asyncio(how: str) -> str:
    loop = asyncio.get_running_loop()
    before = loop.time()
    if how == "timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await asyncio.sleep(3600)
    elif how == "wait_for":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 100)
    elif how == "call_later":
        event = asyncio.Event()
        loop.call_later(100, event.set)
        await event.wait()
    elif how == "task":
        await asyncio.gather(*(asyncio.create_task(asyncio.sleep(each)) for each in (10, 100)))
    elif how == "steps":
        for _ in range(1000):
            await asyncio.sleep(0.1)
    return f"{loop.time() - before:.6f}"


@pytest.mark.parametrize("how", ["timeout", "wait_for", "call_later", "task", "steps"])
def test_all_waits_of_asyncio_follow_the_clock(how: str) -> None:
    with testing.hub(waits_by_asyncio, one) as hub:
        assert call(hub, "waits_by_asyncio", how) == "100.000000"
        assert timedelta(seconds=100) <= now(hub) < timedelta(seconds=100.001)


@df.activity
async def waits_outside(how: str) -> str:
    async with asyncio.timeout(3600):
        if how == "thread":
            return await asyncio.to_thread(lambda: time.sleep(0.05) or "done")  # type: ignore[func-returns-value]
        if how == "process":
            program = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            return "done" if await program.wait() == 0 else "failed"
        if how == "pipe":
            command = (sys.executable, "-c", "print('done')")
            program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            output, _ = await program.communicate()
            return output.decode().strip()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        text = (await reader.read()).decode()
        writer.close()
        server.close()
        return text


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await asyncio.to_thread(lambda: time.sleep(0.05) or b"done"))  # type: ignore[func-returns-value]
    writer.close()


@df.orchestrator
def hour(context: Context) -> Any:
    yield context.create_timer(HOUR)


@pytest.mark.parametrize("how", ["thread", "process", "pipe", "socket"])
def test_the_clock_waits_for_what_is_real(how: str) -> None:
    with testing.hub(waits_outside, one, hour) as hub:
        hub.client.start_new(hour)
        assert call(hub, "waits_outside", how) == "done"
        assert now(hub) == timedelta()


def test_times_are_those_of_the_test_again() -> None:
    """The same test gives the same times."""

    def run() -> list[datetime]:
        with testing.hub(sleeps, one, many) as hub:
            hub.finish(hub.client.start_new(many, "a", ["sleeps", [0.1, 0.7, 0.30000001, 1e-7, 60]]))
            return [record.at for record in hub.client.get_history("a")]

    assert run() == run()
