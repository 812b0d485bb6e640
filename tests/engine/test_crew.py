"""Calls that are cancelled before they have begun: they never do, in whichever executor they queue."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.config import Concurrency
from durablecli.engine.activity import Outcome
from durablecli.engine.crew import Crew
from durablecli.engine.draft import Job
from durablecli.model import events as ev

began: list[Any] = []
gate = Event()


@df.activity
async def in_the_loop(value: int) -> None:
    began.append(value)
    await asyncio.to_thread(gate.wait, 20)


@df.activity
def in_a_thread(value: int) -> None:
    began.append(value)
    gate.wait(20)


@df.activity(max_concurrency=1)
def one_at_a_time(value: int) -> None:
    began.append(value)
    gate.wait(20)


@pytest.mark.parametrize("name", ["in_the_loop", "in_a_thread", "one_at_a_time"])
def test_a_call_that_is_cancelled_while_it_queues_never_begins(name: str) -> None:
    began.clear()
    gate.clear()
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    limits = Concurrency(activities=8 if name == "one_at_a_time" else 1, async_activities=1)
    crew = Crew(testing.registry(in_the_loop, in_a_thread, one_at_a_time), outcomes.put, limits)
    crew.start([Job(f"x{i}", "1", 2, ev.TaskScheduled(name, Raw(b"%d" % i))) for i in range(4)])
    for i in (1, 2):
        crew.cancel(f"x{i}", "1")
    gate.set()
    answered = {}
    while crew.running:
        outcome = outcomes.get(timeout=20)
        answered[outcome.key[0]] = crew.settled(outcome) is not None
    crew.stop()
    assert answered == {"x0": True, "x1": False, "x2": False, "x3": True}
    assert began == [0, 3]
