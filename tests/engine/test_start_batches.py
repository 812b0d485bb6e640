"""Start batches: they share cycles with other inputs, and after a crash no item is started twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine import cycle, intake, message_handler, publisher
from durablecli.engine.engine_options import EngineOptions
from durablecli.store.hub import checkpoint
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem

turn_clock = {"now": 0.0, "turn": 0.0}
"""The time in seconds, and what a turn adds to it."""


@df.orchestrator
def twice(context: df.DurableOrchestrationContext) -> Any:
    turn_clock["now"] += turn_clock["turn"]
    if context.get_input() == 0:
        context.continue_as_new(1)
    return "done"


def make_hub(turn_budget: timedelta = timedelta.max) -> testing.TestEnvironment:
    return testing.TestEnvironment(
        testing.build_registry(twice), testing.START, EngineOptions(use_threads=False, turn_budget=turn_budget)
    )


def make_items(count: int) -> list[MessageItem]:
    return [MessageItem(f"b-{i}", "twice", Raw(b"0")) for i in range(count)]


@pytest.mark.parametrize("purged", [False, True])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_batch_interrupted_by_a_crash_resumes_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, purged: bool, checkpointed: bool
) -> None:
    monkeypatch.setattr(message_handler, "_MAX_WHOLE_STARTS", 10)
    monkeypatch.setattr(intake, "_MAX_BATCH_STARTS", 10)
    monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 0.0)
    with make_hub() as hub:
        Inbox(hub.disk, "hub").post("start", make_items(1_000))
        while not (first := hub.client.get_status("b-0")).ended:
            hub.engine.step()
        if purged:
            hub.client.purge_instance_history("b-0")
        assert not hub.client.get_status("b-999").taken
        if checkpointed:
            hub.engine.flush()  # which takes nothing more
            assert hub.engine.hub.partial_batches
            checkpoint(hub.engine.hub, oldest_needed_commit=hub.engine.hub.oldest_needed_commit)
        hub.restart()
        hub.run()
        again = hub.client.get_status("b-0")
        assert not again if purged else again.execution == first.execution
        assert all(hub.client.get_status(f"b-{i}").output == "done" for i in range(1, 1_000))
        assert hub.engine.hub.oldest_needed_commit is None


@pytest.mark.parametrize("count", [100, 2_000])
def test_many_starts_in_one_message_do_not_lengthen_the_cycle(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(cycle, "monotonic", lambda: turn_clock["now"])
    with make_hub(turn_budget=timedelta(milliseconds=10)) as hub:
        posted = hub.engine.submit("start", make_items(count))
        turn_clock["turn"] = 0.02
        hub.engine.step()
        turn_clock["turn"] = 0.0
        assert hub.engine.stats["turns"] == 1
        while not posted.done.is_set():
            hub.engine.step()
        hub.run()
        assert hub.client.get_status(f"b-{count - 1}").output == "done"
