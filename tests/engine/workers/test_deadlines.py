"""Time-outs of activities: who settles a call, what its function is told, and how its slot is used again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Event
from time import monotonic
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.deadlines import CallTimer, Deadlines
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.slot_warnings import SlotWarnings
from durablecli.engine.workers.thread_pool import ThreadPool
from durablecli.errors import Unserializable, UsageError
from durablecli.model import events as ev
from durablecli.model.activity_options import ActivityOptions
from durablecli.model.failures import to_exception
from durablecli.model.reported_heartbeat import make_heartbeat
from durablecli.registry import Function
from durablecli.replay.function_marks import FunctionMark
from tests.support.waiting import wait_until

Results = SimpleQueue[ActivityResult | EntityBatchResult]
said: list[Any] = []
gate = Event()


@df.activity(timeout=0.05)
def deaf(value: int) -> int:
    said.append(f"deaf {value}")
    gate.wait(20)
    said.append("returned")
    return value


@df.activity(timeout=0.05, max_concurrency=1)
def deaf_alone(value: int) -> None:
    said.append(f"deaf_alone {value}")
    gate.wait(20)


@df.activity(timeout=30)
def listens(value: int, context: df.ActivityContext) -> None:
    while not context.cancelled:
        gate.wait(0.005)
    said.append(context.cancel_reason)


@df.activity(timeout=0.05)
async def stubborn(value: int) -> int:
    said.append(f"stubborn {value}")
    while not gate.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            said.append("cancelled")
    said.append(f"ended {value}")
    return value


@df.activity(heartbeat_timeout=30)
def beats(count: int, context: df.ActivityContext) -> int:
    for at in range(count):
        context.heartbeat({"at": at})
    if count == 0:
        gate.wait(20)
    return count


@df.activity
def plain(value: int) -> int:
    return value


REGISTRY = testing.build_registry(deaf, deaf_alone, listens, stubborn, beats, plain)


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    said.clear()
    gate.clear()
    yield
    gate.set()


class Pools:
    """A dispatcher and its results."""

    def __init__(self, **limits: int) -> None:
        self.results: Results = SimpleQueue()
        self.dispatcher = Dispatcher(REGISTRY, self.results.put, ConcurrencyConfig(**limits))

    def start(self, name: str, value: int = 1, n: int = 2, **options: Any) -> None:
        task = ev.TaskScheduled(name, Raw(b"%d" % value), **options)
        self.dispatcher.dispatch_activities([ActivityTask("x", "1", n, task)])

    def take(self) -> ActivityResult | None:
        """The next result, if it counts."""
        result = self.results.get(timeout=20)
        assert isinstance(result, ActivityResult)
        return result if self.dispatcher.complete(result) is not None else None

    def take_text(self) -> str:
        result = self.take()
        assert result is not None
        assert result.failure is not None
        return result.failure.message


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools(activities=1, async_activities=1)
    yield made
    gate.set()
    made.dispatcher.stop()


@pytest.mark.parametrize("name", ["deaf", "stubborn"])
def test_what_does_not_stop_gives_its_slot_to_the_next_call(pools: Pools, name: str) -> None:
    pools.start(name, 1, 2)
    assert pools.take_text() == "ran longer than 0.05 s"
    pools.start(name, 2, 3)
    assert pools.take_text() == "ran longer than 0.05 s"
    assert [each for each in said if each.startswith(name)] == [f"{name} 1", f"{name} 2"]
    assert pools.dispatcher.in_flight_count == 0
    gate.set()
    pools.start("plain", 3, 4)
    found = pools.take()
    assert found is not None
    assert found.result == Raw(b"3")


@pytest.mark.parametrize("name", ["deaf", "stubborn", "deaf_alone"])
def test_a_cancelled_call_that_does_not_stop_gives_up_its_slot_when_it_times_out(pools: Pools, name: str) -> None:
    pools.start(name, 1, 2)
    wait_until(lambda: f"{name} 1" in said)
    pools.dispatcher.cancel(("x", "1", 2), "terminated: enough")
    assert pools.take() is None
    assert pools.dispatcher.in_flight_count == 0
    pools.start(name, 2, 3)
    assert pools.take_text() == "ran longer than 0.05 s"
    gate.set()
    if name == "stubborn":
        wait_until(lambda: {"ended 1", "ended 2"} <= set(said))


def test_a_repeated_call_gets_its_own_result_and_not_that_of_the_one_that_timed_out(pools: Pools) -> None:
    pools.start("deaf", 1)
    assert pools.take() is not None
    pool = pools.dispatcher.pools["thread"]
    assert isinstance(pool, ThreadPool)
    wait_until(lambda: len(pool.list_lost()) == 1)
    pools.start("deaf", 2, timeout=30.0)  # as after a rewind: the same decision, whose earlier call still runs
    wait_until(lambda: "deaf 2" in said)
    gate.set()
    found = pools.take()
    assert found is not None
    assert found.result == Raw(b"2")
    wait_until(lambda: not pool.list_lost(), description="the lost thread ends")
    assert said[said.index("deaf 1") :].count("returned") == 2  # before it a thread of an earlier test may return
    assert pools.results.empty()


def test_the_time_in_the_queue_does_not_count(pools: Pools) -> None:
    pools.start("listens", n=2)
    pools.start("deaf", n=3)
    assert pools.results.empty()
    began = monotonic()
    while monotonic() < began + 0.1:  # twice the time-out of the one that waits
        assert pools.results.empty()
    pools.dispatcher.cancel_execution("x", "1", "terminated: out of stock")
    assert [pools.take(), pools.take()] == [None, None]
    assert "terminated: out of stock" in said
    assert "deaf 1" not in said


def test_a_call_may_have_a_time_out_of_its_own(pools: Pools) -> None:
    pools.start("listens", timeout=0.05)
    assert pools.take_text() == "ran longer than 0.05 s"
    wait_until(lambda: said == ["timed out: ran longer than 0.05 s"])
    pools.start("plain", n=3, timeout=3600.0)
    assert pools.take() is not None


def test_heartbeats_are_due_from_the_start(pools: Pools) -> None:
    pools.start("beats", 8)
    [call] = pools.dispatcher.iter_in_flight()
    assert pools.take() is not None
    assert isinstance(call, ActivityCall)
    assert call.cancellation.heartbeat is not None
    assert call.cancellation.heartbeat.details == Raw(b'{"at":7}')
    pools.start("beats", 0, 3, heartbeat_timeout=0.05)
    assert pools.take_text() == "sent no heartbeat for 0.05 s"


def test_details_of_a_heartbeat_are_json_of_limited_size() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(Unserializable):
        make_heartbeat({"x": float("nan")}, at)
    with pytest.raises(UsageError, match=r"2,102 bytes, the limit is 2,048"):
        make_heartbeat("x" * 2100, at)


def test_a_failure_by_time_out_is_raised_as_both_of_its_types(pools: Pools) -> None:
    pools.start("deaf")
    result = pools.take()
    assert result is not None
    assert result.failure is not None
    error = to_exception(result.failure, "text", {})
    assert type(error) is df.ActivityTimedOut
    assert isinstance(error, TimeoutError)
    assert (str(error), error.failure) == ("text", result.failure)
    assert result.failure.is_caused_by(TimeoutError)
    assert result.failure.is_caused_by("ActivityTimedOut")


def test_a_thread_that_does_not_stop_is_named_once() -> None:
    lines: list[str] = []
    ahead = [0.0]
    pools = Pools()
    warnings = SlotWarnings(lines.append, lambda: monotonic() + ahead[0])
    pools.start("deaf")
    assert pools.take() is not None
    for seconds in (2.0, 10.0, 20.0):
        ahead[0] = seconds
        warnings.check(pools.dispatcher)
    gate.set()
    pools.dispatcher.stop()
    [line] = lines
    assert line.startswith("deaf of x (id 2) for ")
    assert line.endswith("Its thread is lost until it returns (1 thread now)")


# ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_call(n: int) -> ActivityCall:
    function = Function(FunctionMark("activity", "f"), len, "app")
    return ActivityCall(("x", "1", n), function, ev.NULL, 1, False, n, 1000, Cancellation())


def make_timer(deadlines: Deadlines, seconds: float) -> CallTimer:
    options = ActivityOptions(timeout=timedelta(seconds=seconds))
    made = deadlines.make_timer(options, ev.TaskScheduled("f"), remote=False)
    assert made is not None
    return made


def test_deadlines_pass_in_their_order_and_settled_calls_leave_nothing() -> None:
    expired: SimpleQueue[int] = SimpleQueue()
    now = 0.0
    deadlines = Deadlines(lambda call, text: expired.put(call.key[2]), lambda: now, threaded=False)
    timers = [(make_timer(deadlines, seconds), make_call(n)) for n, seconds in enumerate([0.08, 0.02, 0.05])]
    for timer, call in timers:
        timer.begin(call)
    now = 1.0
    deadlines.maintain()
    assert [expired.get(timeout=20) for _ in timers] == [1, 2, 0]
    assert not any(timer.settle() for timer, _ in timers)
    for n in range(1000):
        timer = make_timer(deadlines, 3600)
        timer.begin(make_call(n))
        assert timer.settle()
    assert len(deadlines._heap) < 100
    assert not deadlines._watched
    deadlines.stop()


def test_a_call_that_waits_to_begin_once_more_has_its_whole_time_again() -> None:
    expired: SimpleQueue[str] = SimpleQueue()
    deadlines = Deadlines(lambda call, text: expired.put(text))
    timer, call = make_timer(deadlines, 0.05), make_call(2)
    timer.begin(call)
    assert timer.suspend()
    began = monotonic()
    while monotonic() < began + 0.1:
        assert expired.empty()
    timer.begin(call)
    assert expired.get(timeout=20) == "ran longer than 0.05 s"
    assert not timer.suspend()
    deadlines.stop()


def test_each_heartbeat_gives_new_time() -> None:
    expired: SimpleQueue[str] = SimpleQueue()
    deadlines = Deadlines(lambda call, text: expired.put(text))
    options = ActivityOptions(heartbeat_timeout=timedelta(seconds=0.05), timeout=timedelta(hours=1))
    timer = deadlines.make_timer(options, ev.TaskScheduled("f"), remote=False)
    assert timer is not None
    timer.begin(make_call(2))
    first = timer.due_at
    timer.beat()
    assert first < timer.due_at
    timer.last_beat = began = monotonic() + 0.2
    assert expired.get(timeout=20) == "sent no heartbeat for 0.05 s"
    assert monotonic() >= began + 0.05
    assert deadlines.make_timer(ActivityOptions(), ev.TaskScheduled("f", heartbeat_timeout=1.0), remote=True) is None
    deadlines.stop()
