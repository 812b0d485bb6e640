"""entities: signals and calls, how a log grows that takes in very many signals, and opening a hub of very many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from msgspec import Raw, json

from durablecli.engine.engine import Engine
from durablecli.store.history.file import history_path
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.query import Query
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Cost, Row, make_rate, make_time

SIGNALS, CALLS = 50_000, 5_000
BURST, BURSTS = 10_000, 40
ENTITIES, AT_ONCE = 100_000, 5_000


def measure(run: Run) -> Iterator[Row]:
    yield from measure_signals(run)
    yield from measure_calls(run)
    yield measure_log_growth(run)
    yield measure_opening(run)


def send_signals(engine: Engine, number: int, signals: int, entities: int, round_: int) -> Cost:
    given = Raw(json.encode({"signals": signals, "entities": entities, "round": round_}))
    return measure_run(engine, [MessageItem(f"fan-{number}", "fan_out_signals", given)])


def measure_signals(run: Run) -> Iterator[Row]:
    """From the start of a fan-out until the last signal is applied and on disk."""
    signals = run.size(SIGNALS)
    for entities in run.sizes(1, 1_000):
        found = []
        with open_engine(f"{run.make_folder()}/state") as engine:
            for number in run.rounds(3):
                found.append(send_signals(engine, number, signals, entities, number))
                totals = [engine.instances.get_entity(f"@tally@{number}-{key}") for key in range(entities)]
                counted = sum(json.decode(entity.runtime_state.state) for entity in totals if entity is not None)
                assert counted == signals, f"{counted:,} of {signals:,} signals were applied"
        yield make_rate(f"{signals:,} signals to {entities:,} entit{'y' if entities == 1 else 'ies'}", signals, found)


def measure_calls(run: Run) -> Iterator[Row]:
    calls = run.size(CALLS)
    for what, name in (("one after another", "call_entity"), ("at once to 1,000", "fan_out_calls")):
        with open_engine(f"{run.make_folder()}/state") as engine:
            given = Raw(b"%d" % calls)
            found = [measure_run(engine, [MessageItem(f"{name}-{n}", name, given)]) for n in run.rounds(3)]
        yield make_rate(f"{calls:,} calls of entities {what}", calls, found)


def measure_log_growth(run: Run) -> Row:
    """The largest log of an entity in the second half of very many signals, beside the first half."""
    burst, bursts = run.size(BURST), 2 * len(run.rounds(BURSTS // 2))
    with open_engine(f"{run.make_folder()}/state") as engine:
        file = Path(history_path(engine.hub.root, "@tally@0-0"))
        sizes = []
        for number in range(bursts):
            send_signals(engine, number, burst, 1, 0)
            sizes.append(file.stat().st_size)
        entity = engine.instances.get_entity("@tally@0-0")
        assert entity is not None
        assert entity.runtime_state.state == Raw(b"%d" % (burst * bursts)), "signals are missing"
    first, second = sizes[: bursts // 2], sizes[bursts // 2 :]
    return Row(f"largest log in the second half of {burst * bursts:,} signals", max(second) / max(first), "×")


def measure_opening(run: Run) -> Row:
    entities, at_once = run.size(ENTITIES), run.size(AT_ONCE)
    state = f"{run.make_folder()}/state"
    with open_engine(state) as engine:
        for number in range(entities // at_once):
            send_signals(engine, number, at_once, at_once, number)
    took = []
    for _ in run.rounds(3):
        began = perf_counter()
        with open_engine(state) as engine:
            took.append(perf_counter() - began)
            count = engine.hub.index.count(Query(entities=True))
            assert count == entities, f"{count:,} of {entities:,} entities were found"
    return make_time(f"open a hub of {entities:,} entities", took, "s")
