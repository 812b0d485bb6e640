"""Random programs of remote code, with kills of engine and worker at any cycle: nothing is lost or done twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durablecli.errors import DurableError
from durablecli.model import events as ev
from durablecli.replay.remote_work import ActivityKey, RemoteActivity, RemoteTurn, TurnKey
from durablecli.replay.runtime_state import fold_history
from tests.properties.power_cut_disk import PowerCutDisk
from tests.support.engine_harness import limit_commit_records
from tests.support.faulty_disk import PowerCut
from tests.support.remote_workers import (
    Decisions,
    RemoteWorker,
    ServingEnvironment,
    call,
    completed,
    to_raw,
    value_of,
)

EXAMPLES = int(os.environ.get("DURABLE_LAWS_EXAMPLES", "120"))
MIN_SHARE = 0.05
Step = tuple[str, int]
Orchestration = Generator[Decisions, Any, Decisions]
COUNTER = "@counter@x"

steps = st.tuples(st.sampled_from(["fan", "signal", "call", "child", "lock"]), st.integers(1, 9))
programs = st.lists(steps, min_size=1, max_size=5)
property_settings = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="DURABLE_LAWS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def play(started: ev.ExecutionStarted) -> Orchestration:
    """Run the steps of the input, one after another. Each has decisions, and so many outcomes to wait for."""
    waiting: list[ev.Decision] = []
    for index, (kind, count) in enumerate(value_of(started)):
        section = f"{started.instance}-{index}"
        outcomes = count
        match kind:
            case "fan":
                waiting += [call("Echo", n) for n in range(count)]
            case "signal":
                waiting += [ev.EntityOperationSignaled(COUNTER, "add", to_raw(1)) for _ in range(count)]
                outcomes = 0
            case "call":
                requests = [f"{section}-{n}" for n in range(count)]
                waiting += [ev.EntityOperationCalled(COUNTER, "add", to_raw(1), request=each) for each in requests]
            case "child":
                waiting += [ev.SubOrchestrationInstanceCreated("leaf", f"{section}-{n}") for n in range(count)]
            case "lock":
                waiting.append(ev.EntityLockRequested((COUNTER,), request=section))
                outcomes = 1
        for _ in range(outcomes):
            yield waiting
            waiting = []
        if kind == "lock":
            waiting.append(ev.EntityUnlockSent(0, request=section, entity=COUNTER))
    return [*waiting, completed("end")]


def leaf(started: ev.ExecutionStarted) -> Orchestration:
    outcome = yield call("Echo", 1)
    return completed(value_of(outcome))


def add(state: Any, name: str, value: Any) -> tuple[Any, Any]:
    return (state or 0) + value, (state or 0) + value


class World:
    """A hub whose engine, or whose worker, dies after so many cycles each time, or whose power fails after so many
    changes of the disk."""

    def __init__(
        self, program: list[Step], kills: list[int], *, lose_workers: bool = False, power_cuts: Sequence[int] = ()
    ) -> None:
        self.program = program
        self.kills = list(kills)
        self.kill_count = self.torn_tails = 0
        self.lose_workers = lose_workers
        self.runs: Counter[ActivityKey] = Counter()
        self.acknowledged: set[ActivityKey | TurnKey] = set()
        self.power_cuts = list(power_cuts)
        self.disk = PowerCutDisk()
        self.hub = ServingEnvironment(disk=self.disk)
        self.worker = self.connect()

    def connect(self) -> RemoteWorker:
        return self.hub.connect({"play": play, "leaf": leaf}, {"Echo": lambda n: n}, {"counter": add})

    def run(self) -> None:
        self.hub.client.start_new("play", "root", self.program)
        self.arm_power_cut()
        for _ in range(20_000):
            moved = self.step()
            moved = self.work() or moved
            if self.kills:
                self.kill_when_due()
            elif not moved and self.hub.engine.is_quiescent and not self.worker.connection.has_ready:
                self.flush()
                if self.hub.client.get_status("root").ended and self.hub.engine.is_idle:
                    return
        raise AssertionError("the engine comes to no rest")

    def step(self) -> bool:
        """Run one cycle; when the power fails open the hub again."""
        try:
            return self.hub.engine.step()
        except (PowerCut, DurableError):
            self.reopen_after_power_cut()
            return True

    def flush(self) -> None:
        try:
            self.hub.engine.flush()
        except (PowerCut, DurableError):
            self.reopen_after_power_cut()

    def reopen_after_power_cut(self) -> None:
        if not self.disk.powered_off:
            raise AssertionError("an error, and no power cut")
        self.disk.powered_off = False
        self.kill_count += 1
        self.hub.restart_serving()
        self.torn_tails += bool(self.hub.engine.hub.incomplete_turns)
        self.worker = self.connect()
        self.arm_power_cut()

    def arm_power_cut(self) -> None:
        self.disk.operations_left = self.power_cuts.pop(0) if self.power_cuts else None

    def work(self) -> bool:
        """Take one item and answer it."""
        work = self.worker.connection.take()
        if work is None:
            return False
        assert work.key not in self.acknowledged, "work was given out again whose answer was acknowledged"
        if isinstance(work, RemoteActivity):
            self.runs[work.key] += 1

        def note(reason: str | None) -> None:
            if reason is None and isinstance(work, RemoteActivity | RemoteTurn):
                self.acknowledged.add(work.key)

        self.hub.remote_pool.answer(self.worker.run(work), note)
        return True

    def kill_when_due(self) -> None:
        self.kills[0] -= 1
        if self.kills[0] > 0:
            return
        self.kills.pop(0)
        self.kill_count += 1
        if self.lose_workers and self.kill_count % 2:
            self.worker.connection.take()
            self.worker.connection.close()
        else:
            self.hub.restart_serving()
            self.torn_tails += bool(self.hub.engine.hub.incomplete_turns)
        self.worker = self.connect()

    def check(self) -> None:
        assert self.hub.client.get_status("root").output == "end"
        expected = Counter({kind: 0 for kind, _ in self.program})
        for kind, count in self.program:
            expected[kind] += 1 if kind == "lock" else count
        records = list(self.hub.client.get_history("root"))
        assert [record.n for record in records] == list(range(1, len(records) + 1))
        found = Counter(type(record.event) for record in records)
        assert found[ev.TaskScheduled] == found[ev.TaskCompleted] == expected["fan"]
        assert found[ev.EntityOperationSignaled] == expected["signal"]
        assert found[ev.EntityOperationCalled] == found[ev.EntityOperationCompleted] == expected["call"]
        assert found[ev.SubOrchestrationInstanceCreated] == expected["child"]
        assert found[ev.EntityLockRequested] == found[ev.EntityUnlockSent] == expected["lock"]
        assert found[ev.ExecutionCompleted] == 1
        state = fold_history(records)
        assert not state.locks
        assert not state.open_decisions
        if total := expected["signal"] + expected["call"]:
            assert self.hub.client.entity(COUNTER).state == total
        assert max(self.runs.values(), default=1) <= 1 + self.kill_count


@pytest.mark.parametrize("lose_workers", [False, True])
def test_kills_at_any_cycle_lose_nothing_and_repeat_no_decision(
    monkeypatch: pytest.MonkeyPatch, lose_workers: bool
) -> None:
    """Commits hold a handful of records here, so turns are spread over several."""
    seen: Counter[str] = Counter()

    @property_settings
    @given(programs, st.lists(st.integers(1, 15), max_size=8), st.integers(1, 6))
    def check_program(program: list[Step], kills: list[int], max_records: int) -> None:
        limit_commit_records(monkeypatch, max_records, measure_all=True)
        world = World(program, kills, lose_workers=lose_workers)
        world.run()
        world.check()
        seen.update(["killed"] * bool(world.kill_count) + ["torn"] * bool(world.torn_tails))
        world.hub.close()

    check_program()
    assert not [each for each in ("killed", "torn") if seen[each] < MIN_SHARE * EXAMPLES], seen


def test_power_cuts_at_any_change_of_the_disk_lose_nothing_and_repeat_no_decision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[str] = Counter()

    @property_settings
    @given(programs, st.lists(st.integers(1, 25), min_size=1, max_size=6), st.integers(1, 6))
    def check_program(program: list[Step], cuts: list[int], max_records: int) -> None:
        limit_commit_records(monkeypatch, max_records, measure_all=True)
        world = World(program, [], power_cuts=cuts)
        world.run()
        world.check()
        seen.update(["cut"] * bool(world.kill_count) + ["torn"] * bool(world.torn_tails))
        world.hub.close()

    check_program()
    assert not [each for each in ("cut", "torn") if seen[each] < MIN_SHARE * EXAMPLES], seen
