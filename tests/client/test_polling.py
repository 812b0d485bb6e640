"""Polling: how long a wait pauses, and when it ends, on a clock that only the sleeps move."""

from __future__ import annotations

from datetime import timedelta

import pytest

from durablecli.client.polling import Poller


class FakeTime:
    """A clock that `sleep` moves forward."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def make_poller(time: FakeTime, timeout: timedelta | float | None = None, **intervals: float) -> Poller:
    return Poller(timeout, clock=time.clock, sleep=time.sleep, **intervals)


def test_pauses_grow_to_the_longest_interval() -> None:
    poller = make_poller(FakeTime(), min_interval=0.1, max_interval=0.2)
    assert [poller.next_pause() for _ in range(4)] == pytest.approx([0.1, 0.15, 0.2, 0.2])


@pytest.mark.parametrize("timeout", [1.0, timedelta(seconds=1)])
def test_a_pause_never_passes_the_deadline(timeout: timedelta | float) -> None:
    time = FakeTime()
    poller = make_poller(time, timeout, min_interval=3.0, max_interval=3.0)
    assert poller.next_pause() == pytest.approx(1.0)
    time.now += 1.5
    assert (poller.next_pause(), poller.is_expired()) == (0.0, True)


def test_a_poller_without_a_timeout_never_expires() -> None:
    time = FakeTime()
    poller = make_poller(time)
    time.now += 1e9
    assert not poller.is_expired()


def test_polling_ends_exactly_at_the_deadline() -> None:
    time = FakeTime()
    poller = make_poller(time, 0.5)
    while not poller.is_expired():
        poller.pause()
    assert time.now == pytest.approx(100.5)


def test_a_timeout_of_zero_has_expired_at_once() -> None:
    time = FakeTime()
    assert make_poller(time, 0).is_expired()
    assert make_poller(time, 0).next_pause() == 0.0


def test_a_change_ends_the_wait_for_one() -> None:
    time = FakeTime()
    make_poller(time).wait_for_change(lambda: time.now > 100.02, before=False)
    assert 100.02 < time.now < 100.1


def test_without_a_change_the_wait_ends_after_a_few_seconds() -> None:
    time = FakeTime()
    make_poller(time).wait_for_change(lambda: "same", before="same")
    assert 105.0 <= time.now < 105.5


def test_each_wait_for_a_change_begins_with_short_pauses() -> None:
    time = FakeTime()
    poller = make_poller(time)
    poller.wait_for_change(lambda: "same", before="same")
    time.pauses.clear()
    poller.wait_for_change(lambda: "other", before="same")
    assert time.pauses == [pytest.approx(0.002)]


def test_a_check_that_takes_long_is_repeated_less_often() -> None:
    time = FakeTime()
    poller = make_poller(time)
    for took in (0.0, 0.01, 0.03, 0.5, 0.0):
        time.now += took
        poller.wait_for_change(lambda: "changed", "before")
    assert time.pauses == pytest.approx([0.002, 0.05, 0.15, 0.2, 0.002])
