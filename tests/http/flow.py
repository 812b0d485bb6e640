"""What the daemons of these tests run."""

from __future__ import annotations

from collections.abc import Generator
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
