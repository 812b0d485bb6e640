"""Functions for the tests of `durable run`: each activity records that it ran."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

import durablecli as df

Context = df.DurableOrchestrationContext


def record_run(*words: object) -> None:
    with open(os.environ["RUNS"], "a") as file:
        print(*words, file=file)


@df.activity
def noted(word: str) -> str:
    record_run(word)
    return word


def is_released() -> bool:
    """Return whether the test lets the activities end."""
    return os.path.exists(os.environ["RELEASED"])


@df.activity
def late(value: Any) -> None:
    while not is_released():
        time.sleep(0.005)
    record_run("late")


@df.activity
def rest(value: Any) -> None:
    record_run("begin")
    while not is_released():
        time.sleep(0.005)


@df.activity
def rest_for(seconds: float) -> None:
    record_run("begin")
    time.sleep(seconds)
    record_run("end")


@df.activity
def start(root: str) -> Any:
    client = df.Client(root)
    return client.wait(client.start_new("work", client_input="thread"), 30).output


@df.activity(executor="process")
def start_in_a_process(root: str) -> Any:
    client = df.Client(root)
    return client.wait(client.start_new("work", client_input="process"), 30).output


@df.entity
class Counter:
    value: int = 0

    def add(self, by: int = 1) -> int:
        self.value += by
        return self.value


@df.orchestrator
def work(context: Context) -> Any:
    return (yield context.call_activity(noted, context.get_input()))


@df.orchestrator
def counts(context: Context) -> Any:
    return (yield context.call_entity(df.EntityId("Counter", context.get_input()), "add", 1))


@df.orchestrator
def parent(context: Context) -> Any:
    word = yield context.call_sub_orchestrator("work", "child")
    return [word, (yield context.call_entity(df.EntityId("Counter", "mine"), "add", 1))]


@df.orchestrator
def rests(context: Context) -> Any:
    yield context.call_activity(rest)


@df.orchestrator
def rest_twice(context: Context) -> Any:
    for _ in range(2):
        yield context.call_activity(rest_for, context.get_input())


@df.orchestrator
def starts(context: Context) -> Any:
    one = yield context.call_activity(start, context.get_input())
    return [one, (yield context.call_activity(start_in_a_process, context.get_input()))]


@df.orchestrator
def hold(context: Context) -> Any:
    with (yield context.lock_entities([df.EntityId("Counter", context.get_input())])):
        yield context.create_timer(timedelta(seconds=3))


@df.orchestrator
def leaves_behind(context: Context) -> Any:
    context.call_activity(late)
    context.signal_entity(df.EntityId("Counter", "left"), "add", 1)
    return "left"
