"""Everything that an orchestration can wait for, with activities that note when they begin and when they end."""

import os
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def record_run(word: str, context: df.ActivityContext) -> None:
    """One line: word, key of the call, attempt, moment in microseconds, engine."""
    key = f"{context.idempotency_key}/{context.task_id}"
    line = f"{word} {key} {context.attempt} {time.time_ns() // 1000} {os.getpid()}\n"
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def simulate_work(value: int, context: df.ActivityContext) -> None:
    record_run("begin", context)
    time.sleep(0.02 + value * 7 % 60 / 1000)
    record_run("end", context)


@df.activity
def step(value: int, context: df.ActivityContext) -> int:
    simulate_work(value, context)
    return value + 1


@df.activity
def square(value: int, context: df.ActivityContext) -> int:
    simulate_work(value, context)
    return value * value


@df.activity
def third_time(value: int, context: df.ActivityContext) -> int:
    simulate_work(value, context)
    if context.attempt < 3:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


@df.orchestrator
def chain(context: df.DurableOrchestrationContext) -> Steps:
    value = context.get_input()
    for _ in range(5):
        value = yield context.call_activity(step, value)
    return value


@df.orchestrator
def fan(context: df.DurableOrchestrationContext) -> Steps:
    squares = yield context.task_all([context.call_activity(square, i) for i in range(context.get_input())])
    return sum(squares)


@df.orchestrator
def as_completed(context: df.DurableOrchestrationContext) -> Steps:
    pending, total = [context.call_activity(square, i) for i in range(context.get_input())], 0
    while pending:
        done = yield context.task_any(pending)
        pending.remove(done)
        total += done.get_result()
    return total


@df.orchestrator
def nap(context: df.DurableOrchestrationContext) -> Steps:
    yield context.create_timer(timedelta(milliseconds=50))
    value = yield context.call_activity(step, context.get_input())
    return value


@df.orchestrator
def collect(context: df.DurableOrchestrationContext) -> Steps:
    items = []
    for _ in range(context.get_input()):
        items.append((yield context.wait_for_external_event("item")))
        yield context.call_activity(step, len(items))
    return items


@df.orchestrator
def gather(context: df.DurableOrchestrationContext) -> Steps:
    """The same over executions: what nobody has read yet goes on."""
    state = context.get_input()
    state["items"].append((yield context.wait_for_external_event("item")))
    yield context.call_activity(step, len(state["items"]))
    if len(state["items"]) == state["wanted"]:
        return state["items"]
    context.continue_as_new(state)
    return None


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Steps:
    value = context.get_input()
    results = yield context.task_all(
        [context.call_sub_orchestrator(chain, value), context.call_sub_orchestrator(nap, value)]
    )
    return results


@df.orchestrator
def listener(context: df.DurableOrchestrationContext) -> Steps:
    heard = yield context.wait_for_external_event("word")
    value = yield context.call_activity(step, heard)
    return value


@df.orchestrator
def teller(context: df.DurableOrchestrationContext) -> Steps:
    child = f"{context.instance_id}-listener"
    task = context.call_sub_orchestrator(listener, instance_id=child)
    yield context.call_activity(step, 1)
    context.send_event(child, "word", context.get_input())
    value = yield task
    return value


@df.orchestrator
def eternal(context: df.DurableOrchestrationContext) -> Steps:
    state = context.get_input()
    state["total"] = yield context.call_activity(step, state["total"])
    if state["rounds"] == 0:
        return state["total"]
    context.continue_as_new({"rounds": state["rounds"] - 1, "total": state["total"]})
    return None


@df.orchestrator
def flaky(context: df.DurableOrchestrationContext) -> Steps:
    attempt = yield context.call_activity_with_retry(third_time, df.RetryOptions(10, 3), context.get_input())
    return attempt


@df.orchestrator
def race(context: df.DurableOrchestrationContext) -> Steps:
    late = context.create_timer(timedelta(hours=1))
    task = context.call_activity(step, context.get_input())
    winner = yield context.task_any([late, task])
    late.cancel()
    return winner.get_result()
