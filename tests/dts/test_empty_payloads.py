"""What has no payload arrives as None: Microsoft's backend sends an empty text then."""

from __future__ import annotations

from typing import Any

import durablecli as df
from durablecli.testing import build_registry
from tests.support.foreign_engine import memory_backend, running_worker


@df.activity
def give_nothing(value: Any) -> Any:
    return value


@df.orchestrator
def nothing(context: df.DurableOrchestrationContext) -> Any:
    found = yield context.call_activity(give_nothing, None)
    event = yield context.wait_for_external_event("go")
    text = yield context.call_activity(give_nothing, "")
    return [context.get_input(), found, event, text]


def test_nothing_is_none_and_an_empty_text_is_a_text() -> None:
    with memory_backend() as engine, running_worker(engine, build_registry(give_nothing, nothing)):
        instance = engine.start("nothing")
        engine.raise_event(instance, "go")
        assert engine.wait(instance).output == [None, None, None, ""]
