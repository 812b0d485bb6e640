"""Schedules: one that is due each second, one at night, and one with a mistake."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import durablecli as df


@df.activity
def note(run: str) -> None:
    with open(os.environ["RUNS"], "a") as file:
        file.write(f"{run}\n")


@df.orchestrator(schedule="* * * * * *", overlap="queue", timezone="Europe/Vienna")
def each_second(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    yield context.call_activity(note, context.instance_id)
    return context.instance_id


@df.orchestrator(schedule="30 2 * * *", timezone="Europe/Vienna", input={"depth": 3})
def nightly(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator(schedule="61 * * * *")
def mistaken(context: df.DurableOrchestrationContext) -> str:
    return "by hand"
