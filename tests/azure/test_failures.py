"""Failure texts in an Azure app: those of its host."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from durablecli import testing
from durablecli.azure import durable_functions as df
from durablecli.config import LimitsConfig
from durablecli.engine.engine_options import EngineOptions
from durablecli.model.versions import VersionPolicy
from durablecli.replay.context import DurableOrchestrationContext as Context
from durablecli.testing import TestEnvironment

app = df.DFApp()


@app.activity_trigger(input_name="text")
def fail(text: str) -> None:
    raise ValueError(text) if text else KeyError


@app.entity_trigger(context_name="context")
def account(context: Any) -> None:
    raise ValueError("too little") if context.operation_name == "withdraw" else ValueError


@app.orchestration_trigger(context_name="context")
def passes_on(context: Context) -> Any:
    yield context.call_activity("fail", context.get_input())


@app.orchestration_trigger(context_name="context")
def calls(context: Context) -> Any:
    yield context.call_sub_orchestrator("passes_on", context.get_input())


@app.orchestration_trigger(context_name="context")
def catches(context: Context) -> Any:
    found = []
    tasks: list[Callable[[], Any]] = [
        lambda: context.call_activity("fail", "bad"),
        lambda: context.call_activity("fail", ""),
        lambda: context.call_sub_orchestrator("passes_on", "bad"),
        lambda: context.call_entity(df.EntityId("account", "a"), "withdraw"),
        lambda: context.call_entity(df.EntityId("account", "a"), "other"),
    ]
    for task in tasks:
        try:
            yield task()
        except Exception as error:  # noqa: BLE001 - all that comes
            found.append(str(error))
    return found


@app.orchestration_trigger(context_name="context")
def fails_itself(context: Context) -> Any:
    raise ValueError(context.get_input()) if context.get_input() else KeyError("user")


def run_to_output(name: str, given: Any = None) -> Any:
    with testing.hub(app) as hub:
        return hub.finish(hub.client.start_new(name, client_input=given)).output


ACTIVITY = "Activity function 'fail' failed: ValueError: bad"
CHILD = f"Orchestrator function 'passes_on' failed: {ACTIVITY}"


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("passes_on", "bad", CHILD),
        ("calls", "bad", f"Orchestrator function 'calls' failed: {CHILD}"),
        ("fails_itself", "bad", "Orchestrator function 'fails_itself' failed: ValueError: bad"),
        ("fails_itself", None, "Orchestrator function 'fails_itself' failed: KeyError: 'user'"),
    ],
)
def test_the_output_of_a_failed_instance_begins_with_its_name(name: str, given: Any, text: str) -> None:
    assert run_to_output(name, given) == text


def test_failed_tasks_have_the_type_and_entities_their_own_text() -> None:
    assert run_to_output("catches") == [
        ACTIVITY,
        "Activity function 'fail' failed: KeyError",
        CHILD,
        "too little",
        "ValueError",
    ]


def test_failures_by_the_engine_begin_with_the_name_too() -> None:
    options = EngineOptions(
        use_threads=False,
        versions=VersionPolicy("2.0", "strict", True),
        limits=LimitsConfig(),
        turn_budget=timedelta.max,
    )
    with TestEnvironment(testing.build_registry(app), testing.START, options) as hub:
        status = hub.finish(hub.client.start_new("passes_on", version="1.0"))
        assert status.output.startswith("Orchestrator function 'passes_on' failed: its version is '1.0'")
