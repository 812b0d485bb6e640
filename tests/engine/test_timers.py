"""The timer heap: in order, and without most cancelled entries."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import durablecli as df
from durablecli import testing
from durablecli.engine.timers import Timers
from durablecli.store.query import from_micros, to_micros
from tests.support.flows import echo

DAY = timedelta(days=1)


@df.orchestrator
def guarded(context: df.DurableOrchestrationContext) -> Any:
    timer = context.create_timer(DAY)
    yield context.task_any([context.call_activity(echo, 1), timer])
    if context.get_input():
        timer.cancel()


def test_timers_that_are_no_longer_awaited_are_removed(replay_always: bool) -> None:
    with testing.hub(echo, guarded, replay_always=replay_always) as hub:
        for _ in range(5):
            hub.client.start_many(guarded, [True, False] * 250)
            hub.run()
        assert len(hub.engine.timers) < 2_000


def test_a_timer_that_was_dropped_and_set_again_fires_in_its_order() -> None:
    timers = Timers()
    for n in range(3_000):
        timers.set(testing.START + n * DAY, "x", "1", n)
        if n != 2_990:
            timers.cancel("x", "1", n)
    timers.set(testing.START, "x", "1", 2_995)
    far = testing.START + 3_000 * DAY
    fired = []
    while (due := timers.pop_due(far)) is not None:
        fired.append(due.n)
    assert fired[0] == 2_995
    assert set(fired) == {2_995, 2_990}
    assert len(timers) == 0


def test_loaded_timers_fire_in_order_with_those_that_are_set() -> None:
    random = Random(1)
    for _ in range(50):
        timers = Timers()
        times = [testing.START + random.randrange(40) * DAY for _ in range(30)]
        loaded = [(to_micros(at), f"i{n:02}") for n, at in enumerate(times[:20])]
        timers.load(sorted(loaded, reverse=True))
        expected = sorted((from_micros(due), id) for due, id in loaded)
        for n, at in enumerate(times[20:]):
            timers.set(at, f"s{n}", "1", n)
            expected.append((at, f"s{n}"))
        removed = {f"i{random.randrange(20):02}", f"s{random.randrange(10)}", min(loaded)[1]}
        timers.remove_instances(removed)
        expected = [each for each in expected if each[1] not in removed]
        assert len(timers) == len(expected)
        put_back = timers.pop_due(testing.START + 40 * DAY)
        assert put_back is not None
        timers.put_back(put_back)
        fired = []
        while (due := timers.pop_due(testing.START + 40 * DAY)) is not None:
            fired.append((due.at, due.instance))
        assert fired == sorted(expected, key=lambda each: each[0])
        assert timers.next_due_time() is None


# ── what counts as work ────────────────────────────────────────────────────────────────────────────────────────────


@df.activity
def refuse(value: Any) -> None:
    raise ValueError("not today")


@df.orchestrator
def retries(context: df.DurableOrchestrationContext) -> Any:
    options = df.RetryOptions(3_600_000, 2)
    yield context.call_activity_with_retry(refuse, options, 1)


@df.orchestrator
def sleeps(context: df.DurableOrchestrationContext) -> Any:
    for _ in range(5):
        yield context.create_timer(timedelta(seconds=context.get_input()))


def test_a_pending_retry_is_work_for_a_later_engine_too(replay_always: bool) -> None:
    with testing.hub(refuse, retries, replay_always=replay_always) as hub:
        instance = hub.client.start_new(retries)
        hub.run()
        assert not hub.engine.is_idle
        hub.restart()
        hub.run()
        assert not hub.engine.is_idle
        hub.client.suspend(instance)
        hub.run()
        assert hub.engine.is_idle
        hub.client.resume(instance)
        assert hub.finish(instance).runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert hub.engine.is_idle


def test_an_engine_is_not_idle_while_a_timer_is_due(replay_always: bool) -> None:
    with testing.hub(sleeps, replay_always=replay_always) as hub:
        at_once = hub.client.start_new(sleeps, client_input=0)
        while not hub.engine.is_idle:
            hub.engine.step()
        assert hub.client.get_status(at_once).ended
        late = hub.client.start_new(sleeps, client_input=60)
        hub.run()
        assert hub.engine.is_idle
        hub.clock.move_to(hub.clock.now() + timedelta(seconds=61))
        hub.restart()
        assert not hub.engine.is_idle
        hub.run()
        assert hub.engine.is_idle
        assert hub.finish(late).ended
