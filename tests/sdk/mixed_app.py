"""Local Python code that calls functions of a JavaScript worker, and is called by them."""

from __future__ import annotations

from typing import Any

import durablecli as df

JS_COUNTER = "JavascriptCounter"


@df.activity
def add_in_python(values: list[int]) -> int:
    return sum(values)


@df.activity
def fail_in_python(text: str) -> None:
    raise LookupError(text)


@df.entity
class PythonCounter:
    """A number that both languages change."""

    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def get(self) -> int:
        return self.value


@df.orchestrator
def python_chain(context: df.DurableOrchestrationContext) -> Any:
    value: int = context.get_input()
    doubled = yield context.call_activity("doubleInJavascript", value)
    return (yield context.call_activity(add_in_python, [doubled, 1]))


@df.orchestrator
def python_fan_out(context: df.DurableOrchestrationContext) -> Any:
    calls = [context.call_activity("doubleInJavascript", n) for n in range(context.get_input())]
    calls += [context.call_activity(add_in_python, [n, n]) for n in range(context.get_input())]
    return (yield context.task_all(calls))


@df.orchestrator
def python_parent(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_sub_orchestrator("javascriptChain", context.get_input()))


@df.orchestrator
def python_catch(context: df.DurableOrchestrationContext) -> Any:
    try:
        yield context.call_activity("failInJavascript", "out of stock")
    except Exception as error:  # noqa: BLE001
        return str(error)
    return None


@df.orchestrator
def python_retry(context: df.DurableOrchestrationContext) -> Any:
    policy = df.RetryOptions(10, 3)
    return (yield context.call_activity_with_retry("failFirstInJavascript", policy, context.get_input()))


@df.orchestrator
def python_locks(context: df.DurableOrchestrationContext) -> Any:
    key: str = context.get_input()
    ours, theirs = df.EntityId("PythonCounter", key), df.EntityId(JS_COUNTER, key)
    with (yield context.lock_entities([ours, theirs])):
        before = [(yield context.call_entity(ours, "get")), (yield context.call_entity(theirs, "get"))]
        yield context.create_timer(context.current_utc_datetime)
        yield context.call_entity(ours, "add", 1)
        yield context.call_entity(theirs, "add", 1)
    return before


@df.orchestrator
def python_waits(context: df.DurableOrchestrationContext) -> Any:
    context.set_custom_status("waiting")
    return (yield context.wait_for_external_event("Go"))
