"""Long timers of the Python SDK, which a worker may cut into shorter ones."""

from __future__ import annotations

from datetime import timedelta

from durabletask import history

from tests.sdk.python.sdk_hub import Context, SdkHub, Turns


def sleep(context: Context, seconds: float) -> Turns:
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=seconds))
    return (context.current_utc_datetime - before).total_seconds()


def test_a_long_timer_is_several_short_ones(hub: SdkHub) -> None:
    with hub.worker(sleep, maximum_timer_interval=timedelta(seconds=0.2)):
        instance = hub.start(sleep, 0.9)
        assert 0.9 <= hub.wait(instance).get_output() < 10
    events = hub.client.get_orchestration_history(instance)
    assert sum(isinstance(event, history.TimerFiredEvent) for event in events) == 5
