"""Saves under load: code is replaced again and again while instances run, and much of it is broken.

Nothing is lost, nothing stays blocked, and no activity runs twice: each round of each instance notes its one run.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from durablecli.store.query import Query
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

HEAD = """
import os
import datetime
import durablecli as df

VERSION = {version}

def note(kind, job):
    with open(os.environ["RUNS"], "ab", buffering=0) as runs:
        runs.write(f"{{kind}} {{job[0]}} {{job[1]}} {{VERSION}}\\n".encode())
    return os.path.exists(os.environ["RELEASED"])
"""
WORK = """
@df.activity
def work(job: list) -> bool:
    return note("thread", job)
"""
OTHERS = """
@df.activity
async def work_async(job: list) -> bool:
    return note("async", job)

@df.activity(executor="process")
def work_apart(job: list) -> bool:
    return note("process", job)

@df.entity
class Total:
    count: int = 0
    def add(self, amount: int) -> None:
        self.count += amount
"""
ROUNDS = """
@df.orchestrator
def rounds(context: df.DurableOrchestrationContext):
    name, count = context.get_input()
    for _ in range(4):
        kind = "work_apart" if count % 10 == 9 else "work_async" if count % 2 else "work"
        ends = yield context.call_activity(kind, [name, count])
        count += 1
        context.signal_entity(df.EntityId("Total", name[-1]), "add", 1)
        if ends:
            return count
        yield context.create_timer(datetime.timedelta(milliseconds={pause}))
    context.continue_as_new([name, count])
"""


def make_app(version: int, kind: str, pause: int) -> str:
    """An app of this version: a good one, or one that is broken in this way."""
    parts = {"head": HEAD.format(version=version), "work": WORK, "others": OTHERS, "rounds": ROUNDS.format(pause=pause)}
    match kind:
        case "syntax":
            parts["rounds"] += "def (:\n"
        case "import":
            parts["head"] += "import nothing_of_this_name\n"
        case "raises":
            parts["others"] += "\n1 / 0\n"
        case "no activity":
            parts["work"] = ""
        case "no orchestrator":
            parts["rounds"] = ""
        case "no entity":
            parts["others"] = parts["others"].replace("@df.entity", "")
        case "clash":
            parts["others"] += "\n@df.activity(name='work')\ndef again(job): ...\n"
    return "".join(parts.values())


KINDS = ("good", "syntax", "good", "no activity", "import", "good", "no orchestrator", "raises", "no entity", "clash")


def check_reloads(hub: CliHarness, *, saves: int, instances: int, pause: int) -> None:
    chance = random.Random(7)
    workflows = hub.folder / "workflows"
    workflows.mkdir()
    file = workflows / "app.py"
    file.write_text(make_app(0, "good", pause))
    daemon = hub.start("dev", "--listen", "0", DURABLE_CONCURRENCY__PROCESS_WORKERS="2", DURABLE_LOG__LEVEL="error")
    daemon.wait_for_output("watching")
    names = [f"job-{number}" for number in range(instances)]
    hub.client.start_many("rounds", [[name, 0] for name in names])
    for version in range(1, saves + 2):
        kind = KINDS[version % len(KINDS)] if version <= saves else "good"
        save(file, make_app(version, kind, pause), atomically=chance.random() < 0.5)
        if kind == "good":
            wait_until(partial(has_run, hub, version), 120, f"version {version} runs:\n{daemon.output}")
        else:
            Event().wait(chance.random() * 0.3)
    hub.release()
    wait_until(lambda: hub.client.count_by_status(Query()) == {"Completed": instances}, 600, daemon.output)
    check_outcome(hub, names)
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait_for_exit() == 0
    hub.assert_sound()


def has_run(hub: CliHarness, version: int) -> bool:
    return any(run[3] == str(version) for run in hub.read_runs()[-500:])


def save(file: Path, text: str, *, atomically: bool) -> None:
    """Save a file as editors do: in place, or in another file that replaces it."""
    if atomically:
        other = file.with_suffix(".py~")
        other.write_text(text)
        os.replace(other, file)
    else:
        file.write_text(text)


def check_outcome(hub: CliHarness, names: list[str]) -> None:
    """Each round of each instance has run once, and each was counted once."""
    runs = Counter((name, int(count)) for _, name, count, _ in hub.read_runs())
    assert [run for run, times in runs.items() if times > 1] == []
    ended = [status for status in hub.client.get_status_all() if status.name == "rounds"]
    assert len(ended) == len(names)
    expected = Counter(name for name, _ in runs)
    assert sorted(status.output for status in ended) == sorted(expected.values())
    assert set(runs) == {(name, count) for name in names for count in range(expected[name])}
    wait_until(lambda: sum(read_totals(hub)) == sum(expected.values()))


def read_totals(hub: CliHarness) -> list[int]:
    return [state["count"] for digit in range(10) if (state := hub.client.entity(f"@Total@{digit}").state)]


def test_nothing_is_lost_blocked_or_run_twice_while_code_is_saved_again_and_again(hub: CliHarness) -> None:
    check_reloads(hub, saves=10, instances=30, pause=150)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_200_saves_while_500_instances_run(hub: CliHarness) -> None:
    check_reloads(hub, saves=200, instances=500, pause=1000)
