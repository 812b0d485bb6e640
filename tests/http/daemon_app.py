"""The app of the daemons in these tests."""

from __future__ import annotations

from collections.abc import Generator
from os import environ
from time import sleep
from typing import Any

import durablecli as df


@df.activity
def work(seconds: float) -> str:
    sleep(seconds)
    return "done"


@df.orchestrator(name="DoWork")
def do_work(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    done: str = yield context.call_activity(work, context.get_input() or 0.5)
    return done


@df.orchestrator(name="Approval")
def approval(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.wait_for_external_event("ApprovalEvent"))


@df.activity
def note(seconds: float) -> None:
    with open(environ["RUNS"], "a") as runs:
        runs.write("noted\n")
    sleep(seconds)


@df.orchestrator(name="Chain")
def chain(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    for _ in range(100):
        yield context.call_activity(note, context.get_input())


app = df.DFApp(http_auth_level="ANONYMOUS")


@app.route(route="slow")
def slow(req: Any) -> str:
    with open(environ["RUNS"], "a") as runs:
        runs.write("slow\n")
    sleep(20)
    return "late"
