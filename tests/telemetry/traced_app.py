"""The app of the daemons in these tests. Its activities make spans of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from opentelemetry import trace

import durablecli as df
from durablecli.azure import functions as func

tracer = trace.get_tracer("traced_app")
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.activity_trigger(input_name="name")
def greet(name: str) -> str:
    with tracer.start_as_current_span("inside greet"):
        return f"hello {name}"


@df.activity
async def fetch(name: str) -> str:
    with tracer.start_as_current_span("inside fetch"):
        await asyncio.sleep(0)
        return name


@df.activity(executor="process")
def crunch(name: str) -> str:
    with tracer.start_as_current_span("inside crunch"):
        return name


@df.activity
def fragile(attempts: int, context: df.ActivityContext) -> str:
    if context.attempt < attempts:
        raise ValueError(f"attempt {context.attempt} failed")
    return "done"


@df.entity
class Account(df.DurableEntity):
    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


@df.orchestrator
def child(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    text: str = yield context.call_activity("greet", context.get_input())
    return text


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[Any]]:
    first = yield context.call_activity("greet", "first")
    yield context.wait_for_external_event("Go")
    answers = [first]
    answers.append((yield context.call_activity(fetch, "second")))
    answers.append((yield context.call_activity(crunch, "third")))
    answers.append((yield context.call_sub_orchestrator(child, "fourth")))
    answers.append((yield context.call_entity(df.EntityId("Account", "a"), "add", 5)))
    return answers


@df.orchestrator
def retrying(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    retry = df.RetryOptions(1, 3)
    done: str = yield context.call_activity_with_retry(fragile, retry, context.get_input())
    return done


@df.orchestrator
def calling(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    response = yield context.call_http("GET", context.get_input())
    status: int = response.status_code
    return status


@df.orchestrator
def counting(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    left = context.get_input()
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
    if left:
        context.continue_as_new(left - 1)


@app.route(route="greet/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_greeting(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    with tracer.start_as_current_span("inside function"):
        instance = await client.start_new("child", None, req.route_params["name"])
    return func.HttpResponse(instance, headers={"x-pid": str(os.getpid())})
