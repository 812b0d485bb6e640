"""After a repair nothing hangs and nothing happens twice: known results are delivered, lost ones requested again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine import entity_compaction
from durablecli.engine.held_turns import HeldTurnRunner
from durablecli.store import deduplication, quarantined_messages
from durablecli.store.check import checker
from durablecli.store.check.history_repair import HistoryRepair
from durablecli.store.history.file import history_path
from durablecli.store.hub import checkpoint, close_hub, open_hub
from durablecli.store.index import Index
from durablecli.store.layout import QUARANTINE_FILE
from tests.support.flows import counter

Context = df.DurableOrchestrationContext
ROOT = "hub"
RUNS: Counter[Any] = Counter()


@df.activity
def work(value: Any) -> Any:
    RUNS[value] += 1
    return value


@df.orchestrator
def child(context: Context) -> Any:
    yield context.call_activity(work, f"{context.get_input()} in a child")
    return context.get_input()


@df.orchestrator
def parent(context: Context) -> Any:
    first = yield context.call_sub_orchestrator(child, "one")
    second = yield context.call_sub_orchestrator(child, "two")
    go = yield context.wait_for_external_event("Go")
    return [first, second, go]


@df.orchestrator
def spreads(context: Context) -> Any:
    results = yield context.task_all([context.call_sub_orchestrator(child, number) for number in range(4)])
    go = yield context.wait_for_external_event("Go")
    return [*results, go]


@df.orchestrator
def adds(context: Context) -> Any:
    entity = df.EntityId("counter", "a")
    seen = []
    for number in (1, 10, 100):
        context.signal_entity(entity, "add", number * 1000)
        seen.append((yield context.call_entity(entity, "add", number)))
    go = yield context.wait_for_external_event("Go")
    return [*seen, go]


@df.orchestrator
def transfer(context: Context) -> Any:
    source, target = df.EntityId("counter", "source"), df.EntityId("counter", "target")
    with (yield context.lock_entities([source, target])):
        yield context.call_entity(source, "add", -5)
        yield context.call_entity(target, "add", 5)
    go = yield context.wait_for_external_event("Go")
    return go


@df.entity
def relay(context: df.DurableEntityContext) -> None:
    context.signal_entity(df.EntityId("counter", "a"), "add", context.get_input())
    context.set_state(context.get_state(lambda: 0) + 1)


FUNCTIONS = [work, child, parent, spreads, adds, transfer, counter, relay]


@pytest.fixture
def hub(replay_always: bool) -> Any:
    RUNS.clear()
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        yield hub


def read_lines(hub: testing.TestEnvironment, id: str) -> list[bytes]:
    return bytes(hub.disk.files[history_path(ROOT, id)].data).split(b"\n")[:-1]


def change_lines(hub: testing.TestEnvironment, id: str, how: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a file while no engine runs."""
    hub.engine.flush()
    checkpoint(hub.engine.hub)
    lines = how(read_lines(hub, id))
    hub.disk.files[history_path(ROOT, id)].data[:] = b"".join(line + b"\n" for line in lines)


def flip_line(n: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [
        line.replace(b'"type":"', b'"tipe":"') if at == n - 1 else line for at, line in enumerate(lines)
    ]


def repair(hub: testing.TestEnvironment) -> list[str]:
    """What `durable doctor --repair` does with histories."""
    hub.close()
    close_hub(open_hub(ROOT, hub.disk, lock=False, index=Index()))

    def keep_file(file: str, *, copy: bool = False) -> None:
        if not copy:
            hub.disk.unlink(file)

    findings = list(HistoryRepair(hub.disk, ROOT, keep_file).run())
    with suppress(FileNotFoundError):
        hub.disk.unlink(f"{ROOT}/{QUARANTINE_FILE}")
    return findings


def repair_and_restart(hub: testing.TestEnvironment) -> list[str]:
    """Repair, and continue with another engine."""
    findings = repair(hub)
    hub.restart()
    hub.run()
    return findings


def assert_sound(hub: testing.TestEnvironment) -> None:
    hub.engine.flush()
    found = [each for each in checker.check_hub(ROOT, hub.disk).findings if "index" not in each]
    assert found == [], found


def finish_instance(hub: testing.TestEnvironment, id: str) -> Any:
    hub.client.raise_event(id, "Go", "go")
    hub.run()
    status = hub.client.get_status(id)
    assert status.ended, status
    assert_sound(hub)
    return status.output


@pytest.mark.parametrize("n", range(2, 7))
@pytest.mark.parametrize("name", ["parent", "spreads"])
def test_a_parent_gets_the_outcomes_of_its_children_again(hub: testing.TestEnvironment, name: str, n: int) -> None:
    hub.client.start_new(name, "p")
    hub.run()
    change_lines(hub, "p", flip_line(n))
    findings = repair_and_restart(hub)
    assert any(f"p has lost the records n {n}" in line or "after record n" in line for line in findings)
    assert finish_instance(hub, "p") == (["one", "two", "go"] if name == "parent" else [0, 1, 2, 3, "go"])
    assert set(RUNS.values()) == {1}


def test_a_child_that_is_lost_fails_its_parent(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("parent", "p")
    hub.engine.step()
    (id,) = (each.child for each in hub.client.get_status("p").waiting_for)
    assert id is not None
    change_lines(hub, id, flip_line(1))
    findings = repair_and_restart(hub)
    assert any("is gone" in line for line in findings)
    assert hub.client.get_status("p").runtime_status is df.OrchestrationRuntimeStatus.Failed
    assert_sound(hub)


@pytest.mark.parametrize("n", range(2, 12))
def test_an_operation_is_applied_once_whatever_its_sender_forgets(hub: testing.TestEnvironment, n: int) -> None:
    hub.client.start_new("adds", "s")
    hub.run()
    if n > len(read_lines(hub, "s")):
        pytest.skip("the history has fewer records")
    change_lines(hub, "s", flip_line(n))
    repair_and_restart(hub)
    assert finish_instance(hub, "s") == [1001, 11011, 111111, "go"]
    assert hub.client.read_entity_state("@counter@a").entity_state == 111111
    hub.restart()
    hub.run()
    assert deduplication.read_truncated_senders(hub.disk, ROOT) == {}


@pytest.mark.parametrize("n", range(2, 7))
@pytest.mark.parametrize("name", ["adds", "parent", "spreads"])
def test_an_operation_is_applied_once_when_the_cycle_is_rolled_back(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch, name: str, n: int
) -> None:
    hub.client.start_new("adds", "z")
    hub.run()
    hub.client.start_new(name, "s")
    hub.run()
    after = hub.client.read_entity_state("@counter@a").entity_state
    runs = dict(RUNS)
    for id in ("s", "z"):
        change_lines(hub, id, flip_line(n))
    original, failures = HeldTurnRunner.run_next, iter([True])

    def fail_once(self: HeldTurnRunner, instance: Any) -> None:
        original(self, instance)
        if instance.id == "z" and next(failures, False):
            raise RuntimeError("boom")

    monkeypatch.setattr(HeldTurnRunner, "run_next", fail_once)
    repair_and_restart(hub)
    assert hub.client.get_status("z").blocked is not None
    hub.client.raise_event("s", "Go", "go")
    hub.run()
    assert hub.client.get_status("s").ended
    assert hub.client.read_entity_state("@counter@a").entity_state == after
    assert runs == RUNS


@pytest.mark.parametrize("n", range(2, 13))
def test_an_operation_is_applied_once_whatever_the_entity_forgets(hub: testing.TestEnvironment, n: int) -> None:
    hub.client.start_new("adds", "s")
    hub.run()
    if n > len(read_lines(hub, "@counter@a")):
        pytest.skip("the history has fewer records")
    change_lines(hub, "@counter@a", flip_line(n))
    repair_and_restart(hub)
    assert finish_instance(hub, "s")[-1] == "go"
    state = hub.client.read_entity_state("@counter@a").entity_state
    assert state in (111111, 111111 - 100000, 111111 - 100, 111111 - 100100, 111111)


@pytest.mark.parametrize("id", ["t", "@counter@source", "@counter@target"])
@pytest.mark.parametrize("n", range(2, 10))
def test_money_is_constant(hub: testing.TestEnvironment, id: str, n: int) -> None:
    for key in ("source", "target"):
        hub.client.signal_entity(f"@counter@{key}", "add", 100)
    hub.client.start_new("transfer", "t")
    hub.run()
    if n > len(read_lines(hub, id)):
        pytest.skip("the history has fewer records")
    change_lines(hub, id, flip_line(n))
    repair_and_restart(hub)
    assert finish_instance(hub, "t") == "go"
    states = [hub.client.read_entity_state(f"@counter@{key}").entity_state for key in ("source", "target")]
    if id == "t":
        assert states == [95, 105]
    assert all(hub.client.entity(f"@counter@{key}").locked_by is None for key in ("source", "target"))


def test_lines_that_are_there_twice_or_in_another_order_are_no_loss(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("adds", "s")
    hub.run()
    before = {id: read_lines(hub, id) for id in ("s", "@counter@a")}
    for id, how in {
        "s": lambda lines: [lines[0], lines[0], lines[2], lines[1], *lines[3:], lines[3], b"\0" * 50, b"rubbish"],
        "@counter@a": lambda lines: [*lines[:4], lines[3], *lines[4:]],
    }.items():
        change_lines(hub, id, how)
    repair(hub)
    assert read_lines(hub, "@counter@a") == before["@counter@a"]
    hub.restart()
    hub.run()
    assert finish_instance(hub, "s") == [1001, 11011, 111111, "go"]


def test_events_behind_the_damage_are_delivered_again(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("adds", "s")
    hub.run()
    hub.client.raise_event("s", "Other", 1)
    hub.client.raise_event("s", "Go", "early")
    hub.run()
    change_lines(hub, "s", flip_line(4))
    repair_and_restart(hub)
    assert hub.client.get_status("s").output == [1001, 11011, 111111, "early"]
    assert quarantined_messages.read_quarantined_messages(hub.disk, ROOT, "s") == []


def test_signals_of_a_lost_batch_are_not_sent_twice(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity("@relay@r", "pass", 7)
    hub.run()
    change_lines(hub, "@relay@r", flip_line(len(read_lines(hub, "@relay@r"))))
    repair_and_restart(hub)
    assert hub.client.read_entity_state("@relay@r").entity_state == 1
    assert hub.client.read_entity_state("@counter@a").entity_state == 7


def test_an_operation_is_applied_once_also_over_a_snapshot(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log no longer has the operations; it still knows up to where it has received those of their sender."""
    hub.client.start_new("adds", "s")
    hub.run()
    monkeypatch.setattr(entity_compaction, "_MIN_COMPACT_BYTES", 1_000)
    for _ in range(20):
        hub.client.signal_entity("@counter@a", "add", 0)
    hub.run()
    assert b'"senders":[{"instance":"s"' in read_lines(hub, "@counter@a")[0]
    change_lines(hub, "s", flip_line(2))
    repair_and_restart(hub)
    assert hub.client.read_entity_state("@counter@a").entity_state == 111111
    assert "its outcome is lost" in str(hub.client.get_status("s").output)
    assert_sound(hub)


@pytest.mark.parametrize("seed", range(20))
def test_anything_may_be_damaged_and_all_that_can_end_ends(hub: testing.TestEnvironment, seed: int) -> None:
    dice = random.Random(seed)
    for key in ("source", "target"):
        hub.client.signal_entity(f"@counter@{key}", "add", 100)
    for number, name in enumerate(["parent", "spreads", "adds", "transfer"] * 2):
        hub.client.start_new(name, f"{name}-{number}")
    for _ in range(dice.randrange(3, 30)):
        if not hub.engine.step():
            hub.pool.run_next()
    hub.engine.flush()
    checkpoint(hub.engine.hub)
    names = [file for file in hub.disk.files if "/instances/" in file or "/entities/" in file]
    for file in dice.sample(names, min(3, len(names))):
        data = hub.disk.files[file].data
        lines = bytes(data).split(b"\n")[:-1]
        if len(lines) < 3:
            continue
        at = dice.randrange(1, len(lines))
        match dice.randrange(5):
            case 0:
                lines[at] = lines[at][:-5]
            case 1 if at < len(lines) - 1:
                del lines[at]
            case 2:
                lines.insert(at, dice.choice(lines))
            case 3:
                lines[at] = bytes(len(lines[at]))
            case _:
                del lines[at:]
                lines.append(b"\0" * 100)
        data[:] = b"".join(line + b"\n" for line in lines)
    print("\n".join(repair_and_restart(hub)))
    for number, name in enumerate(["parent", "spreads", "adds", "transfer"] * 2):
        if (status := hub.client.get_status(f"{name}-{number}")) and not status.ended:
            hub.client.raise_event(f"{name}-{number}", "Go", "go")
    hub.run()
    for number, name in enumerate(["parent", "spreads", "adds", "transfer"] * 2):
        status = hub.client.get_status(f"{name}-{number}")
        assert status.ended, (seed, status.instance_id, status.waiting_for, status.blocked)
    assert_sound(hub)
