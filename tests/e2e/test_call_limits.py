"""Limits of activities, through the real command."""

from __future__ import annotations

import json
import random
from time import sleep
from typing import Any

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

SEED = random.SystemRandom().randrange(1 << 32)
LIMIT, PERIOD = 5, 1_000_000
TOLERANCE = 350_000
"""How much later than its begin an activity may have noted it, in microseconds, on a busy machine."""
CALLS = 15


def test_kills_never_let_more_calls_begin_than_the_rate_allows_and_lose_none(hub: CliHarness) -> None:
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    for name in ("in_a_thread", "in_a_process"):
        given = json.dumps([name, [*range(2 * CALLS if name == "in_a_thread" else CALLS)]])
        hub("start", "fan", "--id", name, "--input", given)
    for _ in range(4):
        daemon = hub.start_daemon("limited")
        sleep(rng.uniform(0.2, 0.6))  # the moment of the kill is what is random
        daemon.kill()
    hub.run_until_idle("limited")
    for name, count in (("in_a_thread", 2 * CALLS), ("in_a_process", CALLS)):
        assert hub.read_status(name)["output"] == [*range(count)]
    for group in (["thread", "0"], ["thread", "1"], ["process", "0"]):
        times = sorted(int(run[3]) for run in hub.read_runs() if run[:2] == group)
        assert len(times) >= CALLS
        windows = [later - earlier for earlier, later in zip(times, times[LIMIT:], strict=False)]
        assert min(windows) >= PERIOD - TOLERANCE, (SEED, windows)
    hub.assert_sound()


def test_a_full_function_holds_up_no_other(hub: CliHarness) -> None:
    hub("start", "fan", "--id", "full", "--input", '["holds", [1, 2, 3, 4]]')
    daemon = hub.start_daemon("limited")
    wait_until(lambda: len(hub.read_runs()) == 2, description="two calls hold")
    hub("start", "fan", "--id", "other", "--input", '["in_a_thread", [1]]')
    assert json.loads(hub("wait", "other", "--timeout", "20").out) == [1]
    assert len(hub.read_runs()) == 3
    hub.release()
    assert json.loads(hub("wait", "full", "--timeout", "20").out) == [1, 2, 3, 4]
    daemon.kill()


def test_the_status_says_for_which_limit_a_call_waits_and_behind_how_many(hub: CliHarness) -> None:
    hub("start", "fan", "--id", "limited", "--input", '["fetch", ["a.org/1", "a.org/2", "b.org/1"]]')
    hub("start", "fan", "--id", "full", "--input", '["holds", [1, 2, 3, 4, 5]]')
    daemon = hub.start_daemon("limited", DURABLE_CONCURRENCY_ACTIVITIES="3")

    def read(instance: str) -> list[dict[str, Any]]:
        return [each for each in hub.read_status(instance)["waitingFor"] if each.get("state") == "queued"]

    (limited,) = wait_until(lambda: read("limited"), description="the rate holds a call back")
    assert (limited["rate"], limited["key"], limited.get("ahead", 0)) == ("1 per 3600 s", "a.org", 0)
    assert "nextAt" in limited
    assert (
        "waits for the rate limit of 'fetch' (1 per 3600 s, key a.org), next in 59 min" in hub("status", "limited").out
    )

    full = wait_until(lambda: len(found := read("full")) == 3 and found, description="the rest of them is queued")
    assert [(each["limit"], each.get("ahead", 0)) for each in full] == [(2, 0), (2, 1), (2, 2)]
    text = hub("status", "full").out
    assert "queued behind 2 (limit 2) for" in text
    assert "waits for the max_concurrency of 'holds' (2)" in text
    daemon.kill()
