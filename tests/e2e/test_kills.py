"""A daemon under load is killed at random moments, again and again, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import pytest

from durablecli import Client
from durablecli.client import Query
from durablecli.model import events as ev
from durablecli.store.check.checker import check_hub
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

SEED = int(os.environ.get("KILLS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
SOAK_KILLS = int(os.environ.get("DURABLE_KILLS", "1000"))
KILLS = 16
SOAK_ROUND = 30
_MAX_UNFINISHED = 40

StartRequest = tuple[str, Any, Any]
"""Orchestrator, input, and the output that must come of it."""
ActivityKey = tuple[str, str, int]
ActivityStart = tuple[int, str]
"""When an activity began, and the pid of its engine."""

_ORCHESTRATIONS: list[Callable[[int], StartRequest]] = [
    lambda x: ("chain", x, x + 5),
    lambda x: ("fan", 3 + x % 6, sum(i * i for i in range(3 + x % 6))),
    lambda x: ("as_completed", 2 + x % 4, sum(i * i for i in range(2 + x % 4))),
    lambda x: ("nap", x, x + 1),
    lambda x: ("parent", x, [x + 5, x + 1]),
    lambda x: ("teller", x, x + 1),
    lambda x: ("eternal", {"rounds": 3, "total": x}, x + 4),
    lambda x: ("flaky", x, 3),
    lambda x: ("race", x, x + 1),
]


@dataclass
class Sender:
    """A client that keeps posting, whether a daemon lives or not, and notes what was acknowledged."""

    client: Client
    rng: random.Random
    expected: dict[str, Any] = field(default_factory=dict)
    collectors: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    room: int = 0
    events: int = 0

    def run(self) -> None:
        """Until it is stopped; then every instance that waits for events gets them all."""
        while not self.stopped.is_set():
            self._post()
        for instance in list(self.collectors):
            while instance in self.collectors:
                self._raise_event(instance)

    def _post(self) -> None:
        if self.room <= 0:
            self.room = _MAX_UNFINISHED - self.client.count(Query(status=("Pending", "Running")))
        if self.collectors and (self.room <= 0 or self.rng.random() < 0.4):
            self._raise_event(self.rng.choice(sorted(self.collectors)))
            return
        if self.room <= 0:
            self.stopped.wait(0.05)
            return
        self.room -= 1
        if self.rng.random() < 0.15:
            self._start_collector()
        else:
            name, given, output = self.rng.choice(_ORCHESTRATIONS)(self.rng.randrange(100))
            self.expected[self.client.start_new(name, client_input=given)] = output

    def _start_collector(self) -> None:
        wanted = self.rng.randrange(1, 5)
        if self.rng.random() < 0.5:
            instance = self.client.start_new("collect", client_input=wanted)
        else:
            instance = self.client.start_new("gather", client_input={"wanted": wanted, "items": []})
        self.collectors[instance] = (wanted, [])

    def _raise_event(self, instance: str) -> None:
        wanted, sent = self.collectors[instance]
        self.client.raise_event(instance, "item", self.events)
        sent.append(self.events)
        self.events += 1
        if len(sent) == wanted:
            self.expected[instance] = sent
            del self.collectors[instance]


class KillLoop:
    """Rounds of kills over one hub, and what is counted meanwhile."""

    def __init__(self, hub: CliHarness, rng: random.Random, *options: str) -> None:
        self.hub = hub
        self.rng = rng
        self.options = options
        self.counts: Counter[str] = Counter()

    def run_round(self, kills: int) -> None:
        """Kill, restart and check so many times under load; then let everything end, compare, and purge it."""
        self.hub.runs_file.unlink(missing_ok=True)
        sender = Sender(self.hub.client, self.rng)
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(sender.run)
            try:
                for _ in range(kills):
                    self._kill_once()
                    self._check()
            finally:
                sender.stopped.set()
            sending.result()
        daemon = self.hub.start_daemon("load", *self.options)
        for instance, output in sender.expected.items():
            assert self.hub.client.wait(instance, 60).output == output, instance
        wait_until(lambda: self.hub.client.count(Query(status=("Pending", "Running"))) == 0, description="children end")
        check_runs(self.hub, self.counts)
        daemon.kill()
        self._check()
        self.counts["starts"] += len(sender.expected)
        self.counts["events"] += sender.events
        self.hub("purge", "--status", "Completed", "--yes")
        assert self.hub.client.count(Query()) == 0
        self._check()

    def _kill_once(self) -> None:
        daemon = self.hub.start_daemon("load", *self.options)
        sleep(self.rng.uniform(0.02, 0.6))
        limit = monotonic() + 1.0
        while not self._in_flight(daemon.pid) and monotonic() < limit:
            sleep(0.01)
        assert daemon.alive, daemon.output
        daemon.kill()
        flying = self._in_flight(daemon.pid)
        self.counts["kills"] += 1
        self.counts["kills with activities running"] += bool(flying)
        self.counts["activities in flight at kills"] += len(flying)

    def _in_flight(self, pid: int) -> set[str]:
        """The calls that an engine has begun and not ended."""
        last = {key: word for word, key, _, _, by in self.hub.read_runs() if by == str(pid)}
        return {key for key, word in last.items() if word == "begin"}

    def _check(self) -> None:
        report = check_hub(str(self.hub.root))
        assert report.findings == [], report


def check_runs(hub: CliHarness, counts: Counter[str]) -> None:
    """What activities noted against what the histories say: each ran for a decision on disk, and again only if in need.

    An activity must not begin once an outcome of it is recorded, nor twice in one engine. Where `continue_as_new` has
    replaced the history, none may begin after one of a later execution.
    """
    begun: dict[ActivityKey, list[ActivityStart]] = defaultdict(list)
    latest: dict[str, int] = {}
    for word, key, _, at, pid in hub.read_runs():
        instance, execution, _, n = key.rsplit("/", 3)
        if word == "begin":
            begun[instance, execution, int(n)].append((int(at), pid))
            assert latest.get(instance, 0) <= int(execution, 16), f"{key} began after a later execution"
            latest[instance] = int(execution, 16)
    for instance in {instance for instance, _, _ in begun}:
        execution, scheduled, settled = recorded_times(hub.client, instance)
        for call, times in begun.items():
            counts["activities"] += call[0] == instance
            counts["run again"] += (len(times) - 1) * (call[0] == instance)
            if call[:2] != (instance, execution):
                continue
            assert scheduled[call[2]] <= times[0][0], f"{call} began before it was decided"
            assert times[-1][0] <= settled[call[2]], f"{call} began again although its outcome was on disk"
    assert all(len({pid for _, pid in times}) == len(times) for times in begun.values())


def recorded_times(client: Client, instance: str) -> tuple[str, dict[int, int], dict[int, int]]:
    """The last execution, and of its activities by `n` the moments of decision and outcome."""
    scheduled: dict[int, int] = {}
    settled: dict[int, int] = {}
    execution = ""
    for record in client.get_history(instance):
        moment = round(record.at.timestamp() * 1_000_000)
        match record.event:
            case ev.ExecutionStarted(execution=execution):
                pass
            case ev.TaskScheduled():
                scheduled[record.n] = moment
            case ev.TaskCompleted(task=n) | ev.TaskFailed(task=n):
                assert n not in settled, f"{instance}: two outcomes of {n}"
                settled[n] = moment
    return execution, scheduled, settled


def print_report(load: KillLoop, seed: int) -> None:
    print(f"\nseed {seed}: " + ", ".join(f"{count} {what}" for what, count in load.counts.items()))


@pytest.mark.timeout(240)
def test_sixteen_kills_lose_nothing_and_repeat_only_what_was_in_flight(hub: CliHarness) -> None:
    print(f"KILLS_SEED={SEED}")
    load = KillLoop(hub, random.Random(SEED))
    load.run_round(KILLS // 2)
    load.run_round(KILLS // 2)
    print_report(load, SEED)
    assert load.counts["kills with activities running"] >= 13
    assert load.counts["run again"] > 0


@pytest.mark.timeout(120)
def test_kills_between_turns_that_are_all_replayed_lose_nothing_either(hub: CliHarness) -> None:
    print(f"KILLS_SEED={SEED}")
    load = KillLoop(hub, random.Random(SEED), "--replay-always")
    load.run_round(8)
    print_report(load, SEED)
    assert load.counts["kills with activities running"] >= 6


@pytest.mark.soak
def test_a_thousand_kills_lose_nothing(hub: CliHarness) -> None:
    print(f"KILLS_SEED={SEED}")
    load = KillLoop(hub, random.Random(SEED))
    while load.counts["kills"] < SOAK_KILLS:
        load.run_round(min(SOAK_ROUND, SOAK_KILLS - load.counts["kills"]))
    print_report(load, SEED)
    assert load.counts["kills with activities running"] >= SOAK_KILLS * 5 / 6
    assert load.counts["starts"] >= 25 * SOAK_KILLS
