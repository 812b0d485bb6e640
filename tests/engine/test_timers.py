"""The heap of due times: in order, and no larger than what is waited for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import durablecli as df
from durablecli import testing
from durablecli.engine.timers import Timers

DAY = timedelta(days=1)


@df.activity
def echo(value: Any) -> Any:
    return value


@df.orchestrator
def guarded(context: df.DurableOrchestrationContext) -> Any:
    timer = context.create_timer(DAY)
    yield context.task_any([context.call_activity(echo, 1), timer])
    if context.get_input():
        timer.cancel()


def test_timers_that_nobody_waits_for_any_more_do_not_pile_up(replay_always: bool) -> None:
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
            timers.drop("x", "1", n)
    timers.set(testing.START, "x", "1", 2_995)
    far = testing.START + 3_000 * DAY
    fired = []
    while (due := timers.take(far)) is not None:
        fired.append(due.n)
    assert fired[0] == 2_995
    assert set(fired) == {2_995, 2_990}
    assert len(timers) == 0
