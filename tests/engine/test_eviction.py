"""Eviction: instances leave the cache only when nothing needs them there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine import publisher
from durablecli.engine.engine_options import EngineOptions
from tests.support.engine_harness import limit_commit_records

Context = df.DurableOrchestrationContext


@df.orchestrator
def child(context: Context) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def family(context: Context) -> Any:
    return (yield context.task_all([context.call_sub_orchestrator(child, i) for i in range(200)]))


def test_a_parent_is_kept_in_memory_while_its_turn_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_commit_records(monkeypatch, 16)
    monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 0.0)
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, live_instances=2)
    with testing.TestEnvironment(testing.build_registry(child, family), testing.START, options) as hub:
        hub.client.start_new(family, "x")
        for _ in range(6):
            hub.engine.step()
        assert hub.engine.split_turn.is_splitting("x")
        monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 1e9)  # from here on the file lacks what is written
        while hub.engine.split_turn.is_active:
            hub.engine.step()
        hub.run()
        assert len(hub.client.get_history("x")) == 201
        hub.client.terminate("x")
        hub.run()
        hub.restart()
        assert {status.runtime_status for status in hub.client.get_status_all()} == {
            df.OrchestrationRuntimeStatus.Terminated
        }
        assert hub.client.check().findings == []
