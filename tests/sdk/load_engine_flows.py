"""The part of a load in two languages that runs in durablecli's own worker, which keeps sessions."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import durablecli as df
from tests.sdk.load_flows import note

Steps = Generator[Any, Any, Any]


@df.activity
def own_step(value: int, context: df.ActivityContext) -> int:
    note("begin", context.instance_id, context.task_id, value)
    time.sleep(0.01 + value * 7 % 40 / 1000)
    note("end", context.instance_id, context.task_id, value)
    return value + 1


@df.orchestrator
def own_chain(context: df.DurableOrchestrationContext) -> Steps:
    value: int = context.get_input()
    for name in ("own_step", "py_step", "own_step", "js_step", "local_step", "own_step"):
        value = yield context.call_activity(name, value)
    return value


@df.orchestrator
def own_parent(context: df.DurableOrchestrationContext) -> Steps:
    names = ("own_chain", "js_chain", "local_chain")
    return (yield context.task_all([context.call_sub_orchestrator(name, context.get_input()) for name in names]))


@df.orchestrator
def own_eternal(context: df.DurableOrchestrationContext) -> Steps:
    state = context.get_input()
    total = yield context.call_activity("own_step", state["total"])
    if state["rounds"] == 0:
        return total
    context.continue_as_new({"rounds": state["rounds"] - 1, "total": total})
    return None
