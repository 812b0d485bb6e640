"""Passes a large payload through everything that is recorded."""

from collections.abc import Generator
from typing import Any

import durablecli as df


@df.activity
def same(text: str) -> str:
    return text


@df.orchestrator
def carries(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    text = yield context.call_activity(same, context.get_input())
    more = yield context.wait_for_external_event("More")
    return [len(text), more]
