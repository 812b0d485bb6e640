"""Orchestrations, activities and an HTTP function that a hub has to survive, and a healthy one beside them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df
from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.turn_recorder import TurnRecorder

Steps = Generator[Any, Any, Any]
Context = df.DurableOrchestrationContext
FAULTS = os.environ.get("FAULTS", "")


@df.activity
def echo(value: Any) -> Any:
    return value


@df.orchestrator
def healthy(context: Context) -> Steps:
    first = yield context.call_activity(echo, 1)
    yield context.create_timer(timedelta(milliseconds=10))
    return first + (yield context.call_sub_orchestrator(healthy_child, 1))


@df.orchestrator
def healthy_child(context: Context) -> Steps:
    return (yield context.call_activity(echo, context.get_input()))


@df.orchestrator
def waits(context: Context) -> Steps:
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def due_at_once(context: Context) -> Steps:
    for at in range(5):
        yield context.call_activity(echo, at)
        yield context.create_timer(context.current_utc_datetime)
    return "done"


@df.orchestrator
def echoes(context: Context) -> Any:
    return 1


@df.orchestrator
def asks(context: Context) -> Steps:
    """Wait for a child that is known by its id."""
    return (yield context.call_sub_orchestrator(waits, None, f"{context.instance_id}-child"))


@df.orchestrator
def nested(context: Context) -> Steps:
    """A chain of sub-orchestrations; the deepest one waits, or fails."""
    given = context.get_input()
    if given["depth"] == 0:
        if given["fails"]:
            raise ValueError("at the bottom")
        return (yield context.wait_for_external_event("Go"))
    return (yield context.call_sub_orchestrator(nested, {**given, "depth": given["depth"] - 1}))


@df.activity
def moves(folder: str) -> str:
    os.chdir(folder)
    return os.getcwd()


@df.activity
def forks(value: Any) -> list[Any]:
    forking = multiprocessing.get_context("fork")
    child = forking.Process(target=time.sleep, args=(1000,))
    child.start()
    child.terminate()
    child.join(30)
    return [child.exitcode == -signal.SIGTERM]


@df.activity(executor="process")
def sleeps_in_a_worker(path: str) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)


@df.activity
def hogs(seconds: float) -> bool:
    """Hold every file handle for a while."""
    held, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            time.sleep(0.01)
    for handle in held:
        os.close(handle)
    return bool(held)


@df.orchestrator
def calls(context: Context) -> Steps:
    name, value = context.get_input()
    return (yield context.call_activity(name, value))


app = df.DFApp(http_auth_level="ANONYMOUS")


@app.route(route="starts")
@app.durable_client_input(client_name="client")
async def starts(req: Any, client: Any) -> str:
    return str(await client.start_new("healthy", "from-another-site"))


# ── faults of the engine itself, which no input is known to cause ──────────────────────────────────────────────────

if "message" in FAULTS:
    original_handle = MessageHandler._handle_item

    def fail_after_handling(self: MessageHandler, message: Any, item: Any) -> None:
        original_handle(self, message, item)
        if item.instance == "bad-message" and message.kind == "raise-event":
            raise RuntimeError("a fault of the engine")

    MessageHandler._handle_item = fail_after_handling  # type: ignore[method-assign]

if "turn" in FAULTS:
    original = TurnRecorder.record_turn

    def fail_after_turn(self: TurnRecorder, instance: Any, records: Any) -> bool:
        placed = original(self, instance, records)
        if instance.id == "bad-turn" and len(records) > 1:
            raise RuntimeError("a fault of the engine")
        return placed

    TurnRecorder.record_turn = fail_after_turn  # type: ignore[method-assign]
