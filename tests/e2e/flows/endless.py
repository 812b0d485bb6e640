"""An orchestrator that never yields, beside one that does."""

import time
from collections.abc import Generator
from typing import Any

import durablecli as df


@df.orchestrator
def endless(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    if context.get_input() == "later":
        yield context.wait_for_external_event("go")
    while True:
        pass


@df.orchestrator
def sleeper(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    time.sleep(context.get_input())
    answer = yield context.wait_for_external_event("go")
    return str(answer)


@df.orchestrator
def prompt(context: df.DurableOrchestrationContext) -> str:
    return "done"
