"""The sliding window: never more than the limit in any period, whatever the times, and as many as that allows."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from durablecli.engine.workers.rate_window import Permit, RateWindow
from durablecli.model.activity_options import Rate

_steps = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 400)), max_size=80)
"""Milliseconds until the next call asks, and until its worker begins it."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(_steps, st.sampled_from([1, 2, 5]), st.booleans())
def test_no_period_has_more_than_the_limit(steps: list[tuple[int, int]], limit: int, restarts: bool) -> None:
    rate, clock, window = Rate(limit, timedelta(seconds=1)), Clock(), RateWindow()
    waiting: list[tuple[float, Permit]] = []
    begun: list[float] = []
    for step, (pause, delay) in enumerate(steps):
        until = clock.now + pause / 1000
        for at, permit in sorted(waiting, key=lambda each: each[0]):
            if at <= until:
                clock.now = max(clock.now, at)
                permit.begin()
                begun.append(clock.now)
                waiting.remove((at, permit))
        clock.now = until
        window.refresh(rate, clock.now)
        if window.count_free(rate) > 0:
            permit = Permit(step, clock, clock.now)
            window.admit(permit)
            waiting.append((clock.now + delay / 1000, permit))
        else:
            assert window.next_free_time(rate, clock.now) > clock.now
        if restarts and step % 7 == 6 and not waiting:
            window = RateWindow(window.starts)
    begun.sort()
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(begun, begun[limit:], strict=False))


def test_calls_begin_at_once_up_to_the_limit_and_then_as_the_window_moves_on() -> None:
    rate, clock, window = Rate(3, timedelta(seconds=1)), Clock(), RateWindow()
    for at in (0.0, 0.25, 0.5):
        clock.now = at
        window.refresh(rate, at)
        permit = Permit(1, clock, at)
        window.admit(permit)
        permit.begin()
    assert window.count_free(rate) == 0
    window.refresh(rate, 0.75)
    assert (window.count_free(rate), window.next_free_time(rate, 0.75)) == (0, 1.0)
    window.refresh(rate, 1.25)
    assert (window.count_free(rate), window.last_start) == (2, 0.5)


def test_a_call_that_never_begins_stops_counting() -> None:
    rate, clock, window = Rate(1, timedelta(seconds=1)), Clock(), RateWindow()
    permit = Permit(1, clock, 0.0)
    window.admit(permit)
    assert window.count_free(rate) == 0
    window.withdraw(permit)
    assert window.count_free(rate) == 1


def test_a_window_of_a_high_limit_stays_small() -> None:
    rate, clock, window = Rate(100_000, timedelta(seconds=1)), Clock(), RateWindow()
    for number in range(20_000):
        clock.now = number / 10_000
        window.refresh(rate, clock.now)
        permit = Permit(number, clock, clock.now)
        window.admit(permit)
        permit.begin()
    window.refresh(rate, clock.now)
    assert len(window.starts) <= 102
    assert 89_800 <= window.count_free(rate) <= 90_000
