"""The Python part of a load in two languages, with the SDK: a worker for the address that is given."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

from durabletask import task
from durabletask.entities import EntityInstanceId
from durabletask.grpc_options import GrpcChannelOptions, GrpcWorkerResiliencyOptions
from durabletask.worker import TaskHubGrpcWorker

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sdk.load_flows import note

Context = task.OrchestrationContext
Turns = Generator[task.Task[Any], Any, Any]
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 300)]


def py_step(context: task.ActivityContext, value: int) -> int:
    note("begin", context.orchestration_id, context.task_id, value)
    time.sleep(0.01 + value * 7 % 40 / 1000)
    note("end", context.orchestration_id, context.task_id, value)
    return value + 1


def py_flaky(context: task.ActivityContext, value: int) -> str:
    """Fail twice, as counted in a file, which outlives this process."""
    note("begin", context.orchestration_id, context.task_id, value)
    counted = Path(os.environ["RUNS"] + ".failures") / context.orchestration_id
    counted.parent.mkdir(exist_ok=True)
    if counted.exists() and counted.stat().st_size >= 2:
        note("end", context.orchestration_id, context.task_id, value)
        return "at last"
    with counted.open("a") as file:
        file.write("x")
    note("end", context.orchestration_id, context.task_id, value)
    raise ConnectionError("not yet")


def py_chain(context: Context, value: int) -> Turns:
    for name in ("py_step", "js_step", "local_step", "py_step"):
        value = yield context.call_activity(name, input=value)
    return value


def py_fan(context: Context, count: int) -> Turns:
    calls: list[task.Task[int]] = [context.call_activity(("py_step", "js_step")[n % 2], input=n) for n in range(count)]
    return sum((yield task.when_all(calls)))


def py_parent(context: Context, value: int) -> Turns:
    names = ("js_chain", "local_chain")
    return (yield task.when_all([context.call_sub_orchestrator(name, input=value) for name in names]))


def py_nap(context: Context, value: int) -> Turns:
    yield context.create_timer(timedelta(milliseconds=50))
    return (yield context.call_activity("js_step", input=value))


def py_retry(context: Context, value: int) -> Turns:
    policy = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=5)
    return (yield context.call_activity("py_flaky", input=value, retry_policy=policy))


def py_collect(context: Context, wanted: int) -> Turns:
    items = []
    for _ in range(wanted):
        items.append((yield context.wait_for_external_event("item")))
        yield context.call_activity("py_step", input=len(items))
    return items


def py_signals(context: Context, given: dict[str, Any]) -> Turns:
    context.signal_entity(EntityInstanceId("Ledger", given["key"]), "add", given["token"])
    return (yield context.call_entity(EntityInstanceId("JsLedger", given["key"]), "add", given["token"]))


def py_section(context: Context, key: str) -> Turns:
    entities = [EntityInstanceId("Tally", key), EntityInstanceId("JsTally", key)]
    with (yield context.lock_entities(entities)):
        before = []
        for entity in entities:
            before.append((yield context.call_entity(entity, "get")))
        for entity in entities:
            yield context.call_entity(entity, "add", 1)
    return before


def py_eternal(context: Context, state: dict[str, int]) -> Turns:
    total = yield context.call_activity("py_step", input=state["total"])
    if state["rounds"] == 0:
        return total
    context.continue_as_new({"rounds": state["rounds"] - 1, "total": total})
    return None


def main() -> None:
    """Work until the process is killed."""
    logging.getLogger("load").setLevel(logging.CRITICAL)
    worker = TaskHubGrpcWorker(
        host_address=sys.argv[1],
        logger=logging.getLogger("load"),
        channel_options=GrpcChannelOptions(raw_options=RECONNECT),
        resiliency_options=GrpcWorkerResiliencyOptions(
            reconnect_backoff_base_seconds=0.1, reconnect_backoff_cap_seconds=0.3
        ),
    )
    for activity in (py_step, py_flaky):
        worker.add_activity(activity)
    orchestrators = (
        py_chain, py_fan, py_parent, py_nap, py_retry, py_collect, py_signals, py_section, py_eternal,
    )  # fmt: skip
    for orchestrator in orchestrators:
        worker.add_orchestrator(orchestrator)
    worker.use_work_item_filters()
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
