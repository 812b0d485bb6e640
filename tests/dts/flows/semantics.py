"""Orchestrators whose meaning must be the same on every engine."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Flow = Generator[Any, Any, Any]
Context = df.DurableOrchestrationContext
_failures: dict[str, int] = {}


class OutOfStock(LookupError):
    def __init__(self, item: str) -> None:
        super().__init__(f"no {item}")
        self.item = item


@df.activity
def echo(value: Any) -> Any:
    return value


@df.activity
async def echo_async(value: Any) -> Any:
    return value


@df.activity
def fail(kind: str) -> None:
    raise {"ValueError": ValueError, "KeyError": KeyError, "OutOfStock": OutOfStock, "empty": RuntimeError}[kind](
        *([kind] if kind != "empty" else [])
    )


@df.activity
def fail_first(times: int, context: df.ActivityContext) -> str:
    seen = _failures[context.instance_id] = _failures.get(context.instance_id, 0) + 1
    if seen <= times:
        raise ConnectionError(f"failure {seen}")
    return f"call {seen}"


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    match context.operation_name:
        case "add":
            context.set_state(context.get_state(lambda: 0) + context.get_input())
            context.set_result(context.get_state())
        case "get":
            context.set_result(context.get_state(lambda: 0))
        case "fail":
            context.set_state(-1)
            raise OutOfStock("number")
        case "delete":
            context.set_state(None)


@df.orchestrator
def chain(context: Context) -> Flow:
    first = yield context.call_activity(echo, 1)
    second = yield context.call_activity(echo_async, first + 1)
    return [first, second, context.get_input()]


@df.orchestrator
def fan_out(context: Context) -> Flow:
    return (yield context.task_all([context.call_activity(echo, each) for each in range(20)]))


@df.orchestrator
def all_of_nothing(context: Context) -> Flow:
    none = yield context.task_all([])
    first = yield context.task_any([])
    return [none, first]


@df.orchestrator
def catch_builtin(context: Context) -> Flow:
    try:
        yield context.call_activity(fail, "ValueError")
    except ValueError as error:
        return ["ValueError", str(error)]


@df.orchestrator
def catch_base(context: Context) -> Flow:
    try:
        yield context.call_activity(fail, "KeyError")
    except LookupError as error:
        return [type(error).__name__ != "", isinstance(error, KeyError)]


@df.orchestrator
def catch_own(context: Context) -> Flow:
    try:
        yield context.call_activity(fail, "OutOfStock")
    except OutOfStock as error:
        return ["OutOfStock", error.item]


@df.orchestrator
def catch_empty(context: Context) -> Flow:
    try:
        yield context.call_activity(fail, "empty")
    except RuntimeError as error:
        return ["RuntimeError", getattr(error, "failure").message]  # noqa: B009 - it is a TaskFailedError too


@df.orchestrator
def raise_failure(context: Context) -> Flow:
    yield context.call_activity(fail, "OutOfStock")


@df.orchestrator
def lost_wait(context: Context) -> Flow:
    """A wait that has lost a race takes no event: the next wait gets it."""
    lost = context.wait_for_external_event("Go")
    began = context.wait_for_external_event("Began")
    yield context.task_any([lost, began])
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def early_event(context: Context) -> Flow:
    yield context.wait_for_external_event("Began")
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def two_waits(context: Context) -> Flow:
    one = yield context.wait_for_external_event("go")
    two = yield context.wait_for_external_event("GO")
    return [one, two]


@df.orchestrator
def race_with_timer(context: Context) -> Flow:
    timer = context.create_timer(timedelta(hours=1))
    event = context.wait_for_external_event("Go")
    winner = yield context.task_any([event, timer])
    timer.cancel()
    last = yield context.call_activity(echo, "after")
    return [winner is event, event.result, last]


@df.orchestrator
def short_timer(context: Context) -> Flow:
    began = context.current_utc_datetime
    yield context.create_timer(timedelta(milliseconds=50))
    return context.current_utc_datetime - began >= timedelta(milliseconds=50)


@df.orchestrator
def retry_until_success(context: Context) -> Flow:
    options = df.RetryOptions(10, 5)
    return (yield context.call_activity_with_retry(fail_first, options, 2))


@df.orchestrator
def retry_in_vain(context: Context) -> Flow:
    try:
        yield context.call_activity_with_retry(fail, df.RetryOptions(10, 3), "ValueError")
    except ValueError as error:
        return str(error)


@df.orchestrator
def child(context: Context) -> Flow:
    given = context.get_input()
    if given == "fail":
        yield context.call_activity(fail, "ValueError")
    return [(yield context.call_activity(echo, given)), context.parent_instance_id is not None]


@df.orchestrator
def parent(context: Context) -> Flow:
    return (yield context.task_all([context.call_sub_orchestrator(child, each) for each in ("a", "b")]))


@df.orchestrator
def parent_of_failure(context: Context) -> Flow:
    try:
        yield context.call_sub_orchestrator(child, "fail")
    except df.TaskFailedError as error:
        return "Activity function 'fail' failed: ValueError: ValueError" in str(error)


@df.orchestrator
def restarts(context: Context) -> Flow:
    """Events that were not read move on to the next execution."""
    done = context.get_input() or []
    done.append((yield context.wait_for_external_event("Next")))
    if len(done) < 3:
        context.continue_as_new(done)
        return None
    return done


@df.orchestrator
def ids_and_status(context: Context) -> Flow:
    """What is made in one turn is the same in the next."""
    made = [context.new_uuid(), str(context.new_guid())]
    context.set_custom_status({"step": 1})
    yield context.call_activity(echo, made)
    context.set_custom_status({"step": 2})
    remade = yield context.call_activity(echo, made)
    return made == remade and len(set(made)) == 2


@df.orchestrator
def calls_entity(context: Context) -> Flow:
    key = f"@counter@{context.instance_id}"
    context.signal_entity(key, "add", 2)
    total, failed = (yield context.call_entity(key, "add", 3)), None
    try:
        yield context.call_entity(key, "fail")
    except OutOfStock as error:
        failed = error.item
    return [total, failed, (yield context.call_entity(key, "get"))]


@df.orchestrator
def locks_entities(context: Context) -> Flow:
    keys = [f"@counter@{name}-{context.instance_id}" for name in ("a", "b")]
    with (yield context.lock_entities(keys)):
        before = yield context.call_entity(keys[0], "get")
        yield context.call_entity(keys[0], "add", before + 1)
        yield context.call_entity(keys[1], "add", before + 2)
    after = yield context.task_all([context.call_entity(each, "get") for each in keys])
    return [before, after]


@df.orchestrator
def sends_event(context: Context) -> Flow:
    name = f"{context.instance_id}-receiver"
    receiver = context.call_sub_orchestrator(two_waits, None, name)
    yield context.create_timer(timedelta(milliseconds=200))
    context.send_event(name, "Go", 1)
    context.send_event(name, "gO", 2)
    return (yield receiver)


@df.orchestrator
def plain(context: Context) -> Any:
    return {"input": context.get_input(), "nothing": None, "text": 'quote " and \n'}


@df.orchestrator
def returns_nothing(context: Context) -> None:
    return None


@df.orchestrator
def unserializable(context: Context) -> Any:
    return object()


@df.orchestrator
def forever(context: Context) -> Flow:
    while True:
        yield context.wait_for_external_event("Never")


_repaired: set[str] = set()
_seen: dict[str, list[str]] = {}


def repair(instance: str) -> None:
    """Let the calls of an instance succeed from now on."""
    _repaired.add(instance)


def calls_of(instance: str) -> list[str]:
    """The calls that an instance and its children have made."""
    return _seen.get(instance, [])


@df.activity
def fragile(call: list[str]) -> str:
    instance, name = call
    _seen.setdefault(instance, []).append(name)
    if name.startswith("bad") and instance not in _repaired:
        raise ValueError(name)
    return name


@df.orchestrator
def needs_repair(context: Context) -> Flow:
    """Fails in the middle of a fan-out, then cleans up."""
    own = context.instance_id
    first = yield context.call_activity(fragile, [own, "first"])
    calls = [context.call_activity(fragile, [own, name]) for name in ("one", "bad two", "three")]
    try:
        rest = yield context.task_all(calls)
    except ValueError:
        yield context.call_activity(fragile, [own, "clean up"])
        raise
    last = yield context.call_activity(fragile, [own, "last"])
    return [first, *rest, last]


@df.orchestrator
def needs_repair_in_child(context: Context) -> Flow:
    child = yield context.call_sub_orchestrator(needs_repair, None, f"{context.instance_id}-child")
    return [child, "parent"]


@df.orchestrator
def needs_repair_of_retries(context: Context) -> Flow:
    own = context.instance_id
    options = df.RetryOptions(5, 2)
    retried = yield context.call_activity_with_retry(fragile, options, [own, "bad retry"])
    return [retried, (yield context.call_activity(fragile, [own, "last"]))]


@df.orchestrator
def fails_alone(context: Context) -> Flow:
    own = context.instance_id
    first = yield context.call_activity(fragile, [own, "first"])
    if own not in _repaired:
        raise RuntimeError("broken")
    return [first, (yield context.call_activity(fragile, [own, "last"]))]
