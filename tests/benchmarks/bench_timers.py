"""timers: very many instances, each with a timer that is due in the same second."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Raw, json

from durablecli.engine.engine import Engine
from durablecli.model.codec import crc_seed, decode_record
from durablecli.model.events import TimerCreated, TimerFired
from durablecli.store.disk import LocalDisk
from durablecli.store.history.file import read_history
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, open_engine
from tests.benchmarks.table import Row, make_percentile

TIMERS = 10_000
START_RATE = 500
"""So many instances a second are started at least, on a slow machine, before the first timer is due."""


def measure(run: Run) -> Iterator[Row]:
    count = run.size(TIMERS)
    state = f"{run.make_folder()}/state"
    ids = [f"timer-{number}" for number in range(count)]
    with open_engine(state) as engine:
        first = datetime.now(UTC) + timedelta(seconds=0.5 + count / START_RATE)
        for number, id_ in enumerate(ids):
            due = (first + timedelta(seconds=number / count)).isoformat()
            engine.submit("start", [MessageItem(id_, "wake_at", Raw(json.encode(due)))])
        engine.run(lambda engine: engine.is_quiescent)
        assert datetime.now(UTC) < first, "the first timer was due before the last instance waited"
        waiting = list(ids)

        def have_all_ended(engine: Engine) -> bool:
            while waiting and engine.has_ended(waiting[-1]):
                waiting.pop()
            return not waiting and engine.is_quiescent

        engine.run(have_all_ended)
        engine.flush()
    lateness = [measure_lateness(state, id_) for id_ in ids]
    yield make_percentile(f"{count:,} timers in a second, late by, median", lateness, 50, "ms")
    yield make_percentile(f"{count:,} timers in a second, late by, p99", lateness, 99, "ms")


def measure_lateness(state: str, instance: str) -> float:
    """The seconds from the time that a timer was due to the time of the record that it fired."""
    history = read_history(LocalDisk(), state, instance)
    assert history is not None
    records = [decode_record(line, crc_seed(instance, history.execution)) for line in history.lines]
    due = next(each.event.fire_at for each in records if isinstance(each.event, TimerCreated))
    return (next(each.at for each in records if isinstance(each.event, TimerFired)) - due).total_seconds()
