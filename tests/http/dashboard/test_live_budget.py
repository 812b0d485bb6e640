"""The budget of live pages."""

from __future__ import annotations

from durablecli.http.dashboard.live_budget import IDLE_SHARE, SHARE, LiveBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_live_pages_wait_until_what_they_took_is_a_small_share_of_the_time() -> None:
    clock = Clock()
    budget = LiveBudget(clock, lambda: clock.now)
    assert not budget.is_spent
    for _ in range(5):
        budget.spend(0.01)
    clock.now += 0.049 / SHARE
    assert budget.is_spent
    clock.now += 0.002 / SHARE
    assert not budget.is_spent


def test_even_the_costliest_page_is_live_within_half_a_minute() -> None:
    clock = Clock()
    budget = LiveBudget(clock)
    budget.spend(3600.0)
    clock.now += 31
    assert not budget.is_spent


def test_live_pages_may_take_more_while_the_process_is_idle() -> None:
    clock, processor = Clock(), Clock()
    budget = LiveBudget(clock, processor)
    clock.now += 1
    processor.now += 0.1  # of which the page took half
    budget.spend(0.05)
    clock.now += 0.051 / IDLE_SHARE
    assert not budget.is_spent
    processor.now += 0.2  # busy again
    budget.spend(0.05)
    clock.now += 0.049 / SHARE
    assert budget.is_spent
