"""Small orchestrations for the tests of the command."""

import os
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def record_run(*words: object) -> None:
    """Write a line to the file that the test reads."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@df.activity
def greet(name: str) -> str:
    return f"Hello {name}!"


@df.activity
def doze(value: Any, context: df.ActivityContext) -> str:
    """Run until the test releases it."""
    record_run("begin", context.redelivered)
    while not os.path.exists(os.environ["RELEASED"]):
        time.sleep(0.005)
    record_run("end", context.redelivered)
    return "rested"


@df.activity
def doze_until_cancelled(_: Any, context: df.ActivityContext) -> str:
    """Run until cancelled, and record that."""
    record_run("begin", context.cancelled)
    while not context.cancelled:
        time.sleep(0.01)
    record_run("cancelled", context.cancelled)
    return "cancelled"


@df.orchestrator
def hello(context: df.DurableOrchestrationContext) -> Steps:
    greeting = yield context.call_activity(greet, context.get_input())
    return greeting


@df.orchestrator
def approval(context: df.DurableOrchestrationContext) -> Steps:
    data = yield context.wait_for_external_event("approval")
    return data


@df.orchestrator
def listen(context: df.DurableOrchestrationContext) -> Steps:
    """Wait for as many events as the input says; return whether they arrived in order."""
    taken = []
    for _ in range(context.get_input()):
        taken.append((yield context.wait_for_external_event("number")))
    return "in order" if taken == sorted(taken) else taken


@df.orchestrator
def rest(context: df.DurableOrchestrationContext) -> Steps:
    result = yield context.call_activity(doze)
    return result


@df.orchestrator
def rest_until_cancelled(context: df.DurableOrchestrationContext) -> Steps:
    result = yield context.call_activity(doze_until_cancelled)
    return result


@df.orchestrator
def nap(context: df.DurableOrchestrationContext) -> Steps:
    yield context.create_timer(timedelta(seconds=context.get_input()))
    return "awake"
