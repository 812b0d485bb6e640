"""Activities that depend on resources of every scope, in threads, on the event loop and in worker processes."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


def record_run(*words: object) -> None:
    """Write a line to the file that the test reads."""
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


@df.resource
def open_settings() -> Iterator[dict[str, str]]:
    time.sleep(0.05)  # long enough for all activities to need it at once
    record_run("up", "settings", os.getpid())
    yield {"name": "db"}
    record_run("down", "settings", os.getpid())


@df.resource(scope="thread")
def open_connection(settings: dict[str, str] = df.Depends(open_settings)) -> Iterator[str]:
    thread = threading.get_ident()
    record_run("up", "connection", thread)
    yield f"connection to {settings['name']}"
    record_run("down", "connection", threading.get_ident())


@df.resource(scope="call")
def begin(connection: str = df.Depends(open_connection)) -> Iterator[str]:
    try:
        yield f"transaction of {connection}"
    except ValueError:
        record_run("rollback")
        raise
    else:
        record_run("commit")


@df.resource
async def open_session(settings: dict[str, str] = df.Depends(open_settings)) -> AsyncIterator[str]:
    await asyncio.sleep(0.05)
    record_run("up", "session")
    yield f"session of {settings['name']}"
    await asyncio.sleep(0)
    record_run("down", "session")


@df.activity
def write(value: int, transaction: str = df.Depends(begin)) -> str:
    time.sleep(0.02)
    if value < 0:
        raise ValueError(f"{value} is negative")
    return transaction


@df.activity
async def ask(value: int, session: str = df.Depends(open_session)) -> str:
    return f"{value} by {session}"


@df.activity(executor="process")
def crunch(value: int, settings: dict[str, str] = df.Depends(open_settings)) -> str:
    return f"{value} with {settings['name']}"


@df.orchestrator
def everywhere(context: df.DurableOrchestrationContext) -> Steps:
    tasks = [context.call_activity(each, n) for each in (write, ask, crunch) for n in range(8)]
    return (yield context.task_all(tasks))


@df.orchestrator
def fails(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(write, -1)
