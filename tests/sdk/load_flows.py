"""The local part of a load in two languages. All activities note in a file when they begin and end."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def note(word: str, instance: str, task: int, value: int) -> None:
    """Append one line: word, instance, number of the call, input, process, moment in microseconds."""
    line = f"{word} {instance} {task} {value} {os.getpid()} {time.time_ns() // 1000}\n"
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@df.activity
def local_step(value: int, context: df.ActivityContext) -> int:
    note("begin", context.instance_id, context.task_id, value)
    time.sleep(0.01 + value * 7 % 40 / 1000)
    note("end", context.instance_id, context.task_id, value)
    return value + 1


@df.entity
class Ledger:
    """The tokens that were added, each as often as it was."""

    tokens: list[int] = []  # noqa: RUF012 - a default, which is copied

    def add(self, token: int) -> int:
        self.tokens.append(token)
        return token


@df.entity
class Tally:
    """A number that is read and changed in critical sections."""

    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def get(self) -> int:
        return self.value


@df.orchestrator
def local_chain(context: df.DurableOrchestrationContext) -> Steps:
    value = yield context.call_activity("py_step", context.get_input())
    value = yield context.call_activity("js_step", value)
    return (yield context.call_activity(local_step, value))


@df.orchestrator
def local_parent(context: df.DurableOrchestrationContext) -> Steps:
    names = ("py_chain", "js_chain")
    return (yield context.task_all([context.call_sub_orchestrator(name, context.get_input()) for name in names]))


@df.orchestrator
def local_section(context: df.DurableOrchestrationContext) -> Steps:
    entities = [df.EntityId("Tally", context.get_input()), df.EntityId("JsTally", context.get_input())]
    with (yield context.lock_entities(entities)):
        before = []
        for entity in entities:
            before.append((yield context.call_entity(entity, "get")))
        for entity in entities:
            yield context.call_entity(entity, "add", 1)
    return before
