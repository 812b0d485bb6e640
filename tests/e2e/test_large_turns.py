"""Turns and batches of any size go through, in slices: a timer that is due meanwhile doesn't wait for the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durablecli.client import Query
from durablecli.model import events as ev
from tests.e2e.flows.sizes import LARGE
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

MIN_SLICES = 4
"""So many timers at least are due meanwhile."""
MAX_SHARE = 0.6
"""No timer is late by more of the time that the whole took; unsliced it would be late by all of it."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[CliHarness]:
    """One whose files don't stay behind: they are large."""
    made = CliHarness(tmp_path)
    yield made
    made.close()
    for file in made.root.rglob("*.jsonl"):
        file.unlink()


@contextmanager
def measure_timer_delay(hub: CliHarness) -> Iterator[None]:
    """A clock ticks twenty times a second; afterwards, how late it was is compared with how long it all took."""
    hub.client.start_new("clock", "clock")
    wait_until(lambda: read_ticks(hub), description="the clock ticks")
    began = datetime.now(UTC)
    yield
    took = datetime.now(UTC) - began
    hub.client.raise_event("clock", "stop")
    hub.client.wait("clock", 60)
    late = [fired - due for due, fired in read_ticks(hub) if fired >= began and due <= began + took]
    print(f"\ntook {took}, {len(late)} timers were due meanwhile, the latest by {max(late)}")
    assert len(late) >= MIN_SLICES
    assert max(late) < took * MAX_SHARE


def read_ticks(hub: CliHarness) -> list[tuple[datetime, datetime]]:
    """When each timer was due, and when it fired."""
    due: dict[int, datetime] = {}
    fired: list[tuple[datetime, datetime]] = []
    for record in hub.client.get_history("clock") if hub.client.get_status("clock") else []:
        match record.event:
            case ev.TimerCreated(fire_at=at):
                due[record.n] = at
            case ev.TimerFired(timer=n):
                fired.append((due[n], record.at))
    return fired


def run_large_inputs(hub: CliHarness, count: int) -> None:
    hub.start_daemon("sizes")
    with measure_timer_delay(hub):
        hub.client.start_new("large", "large", count)
        wait_until(
            lambda: hub.client.count(Query(name="large", status=("Completed",))), 1200, "the large turn ends", 0.3
        )
    assert hub.client.get_status("large", show_input=False).output == count * LARGE


def run_children(hub: CliHarness, count: int) -> None:
    hub.start_daemon("sizes")
    with measure_timer_delay(hub):
        hub.client.start_new("brood", "brood", count)
        wait_until(lambda: hub.client.count(Query(name="brood", status=("Completed",))), 600, "the children end", 0.3)
    assert hub.client.get_status("brood").output == count * (count - 1) // 2
    assert hub.client.count(Query(name="leaf", status=("Completed",))) == count


def run_batch(hub: CliHarness, count: int) -> None:
    hub.start_daemon("sizes")
    with measure_timer_delay(hub):
        ids = hub.client.start_many("leaf", range(count))
        wait_until(
            lambda: hub.client.count(Query(name="leaf", status=("Completed",))) == count, 1200, "the batch ends", 0.3
        )
    assert len(set(ids)) == count
    assert hub.client.get_status(ids[-1]).output == count - 1


def test_twelve_inputs_of_16_mib_in_one_turn(hub: CliHarness) -> None:
    run_large_inputs(hub, 12)
    hub.assert_sound()


def test_five_thousand_children_in_one_turn(hub: CliHarness) -> None:
    run_children(hub, 5_000)


def test_a_batch_of_eight_thousand_starts(hub: CliHarness) -> None:
    run_batch(hub, 8_000)


@pytest.mark.soak
def test_a_hundred_and_forty_inputs_of_16_mib_in_one_turn(hub: CliHarness) -> None:
    run_large_inputs(hub, 140)
    hub.assert_sound()


@pytest.mark.soak
def test_ten_thousand_children_in_one_turn(hub: CliHarness) -> None:
    run_children(hub, 10_000)


@pytest.mark.soak
def test_a_batch_of_a_hundred_thousand_starts(hub: CliHarness) -> None:
    run_batch(hub, 100_000)
    hub.assert_sound()


def test_a_hub_killed_in_the_middle_of_a_large_turn_finishes_it(hub: CliHarness) -> None:
    daemon = hub.start_daemon("sizes")
    hub.client.start_new("brood", "brood", 4_000)
    wait_until(lambda: hub.client.count(Query(name="leaf")) > 100, description="children begin")
    daemon.kill()
    hub.assert_sound()
    hub.start_daemon("sizes")
    assert hub.client.wait("brood", timedelta(seconds=60)).output == 4_000 * 3_999 // 2
    assert hub.client.count(Query(name="leaf")) == 4_000
