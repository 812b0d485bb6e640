"""Functions for the `durabletask` SDK: its own worker runs them as well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from durabletask import task
from durabletask.entities import DurableEntity, EntityContext, EntityInstanceId

SHORT = timedelta(milliseconds=20)
LONG = timedelta(minutes=10)
RETRY = task.RetryPolicy(first_retry_interval=SHORT, max_number_of_attempts=3, backoff_coefficient=1.5)
attempts: dict[str, int] = {}


@dataclass
class Order:
    item: str
    count: int = 1


@dataclass
class Basket:
    orders: list[Order]
    note: str | None = None


class Money:
    """Has hooks of its own."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def to_json(self) -> dict[str, int]:
        return {"cents": self.cents}

    @classmethod
    def from_json(cls, value: dict[str, int]) -> Money:
        return cls(value["cents"])


# ── activities ───────────────────────────────────────────────────────────────────────────────────────────────────────


def double(ctx: task.ActivityContext, number: int) -> int:
    return number * 2


def pack(ctx: task.ActivityContext, basket: Basket) -> Basket:
    return Basket([*basket.orders, Order("box")], type(basket.orders[0]).__name__)


def bill(ctx: task.ActivityContext, money: Money) -> Money:
    return Money(money.cents + 1)


def echo(ctx: task.ActivityContext, value: Any) -> Any:
    return value


def explode(ctx: task.ActivityContext, text: str) -> None:
    raise ValueError(text)


def fail_times(ctx: task.ActivityContext, times: int) -> int:
    attempts[ctx.orchestration_id] = attempts.get(ctx.orchestration_id, 0) + 1
    if attempts[ctx.orchestration_id] <= times:
        raise OSError(f"attempt {attempts[ctx.orchestration_id]}")
    return attempts[ctx.orchestration_id]


def strange(ctx: task.ActivityContext, _: Any) -> Any:
    return object()


# ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counter(DurableEntity):
    def add(self, amount: int) -> int:
        self.set_state(self.get_state(int, 0) + amount)
        return int(self.get_state(int, 0))

    def get(self) -> int:
        return int(self.get_state(int, 0))

    def default(self, amount: int = 5) -> int:
        return amount

    def spoil(self, text: str) -> None:
        self.set_state(-1)
        raise ValueError(text)


def tally(ctx: EntityContext, amount: int) -> Any:
    if ctx.operation == "add":
        ctx.set_state(ctx.get_state(int, 0) + amount)
    return [ctx.operation, ctx.get_state(int, 0), ctx.entity_id.key]


# ── orchestrators ────────────────────────────────────────────────────────────────────────────────────────────────────


def chain(ctx: task.OrchestrationContext, number: int) -> Any:
    for _ in range(3):
        number = yield ctx.call_activity(double, input=number)
    return number


def plain(ctx: task.OrchestrationContext, order: Order) -> Any:
    return [type(order).__name__, ctx.parent_instance_id]


def values(ctx: task.OrchestrationContext, given: Any) -> Any:
    found = []
    given_values: tuple[Any, ...] = (None, 0, "", False, [], {}, "null", "ä☃", 1.5, 10**15, (1, 2), {"a": [None]})
    for value in given_values:
        found.append((yield ctx.call_activity(echo, input=value)))
    return [given, found]


def typed(ctx: task.OrchestrationContext, basket: Basket) -> Any:
    packed = yield ctx.call_activity(pack, input=basket)
    money = yield ctx.call_activity(bill, input=Money(4))
    by_name = yield ctx.call_activity("bill", input=Money(6))
    asked = yield ctx.call_activity("echo", input={"item": "pen"}, return_type=Order)
    loose = yield ctx.call_activity(echo, input=SimpleNamespace(a=1))
    misfit = yield ctx.call_activity("echo", input="text", return_type=Order)
    return [packed, type(packed.orders[0]).__name__, money.cents, by_name, type(asked).__name__, loose, misfit]


def child(ctx: task.OrchestrationContext, number: int) -> Any:
    if number < 0:
        raise LookupError(f"no {number}")
    return (yield ctx.call_activity(double, input=number))


def parent(ctx: task.OrchestrationContext, _: Any) -> Any:
    found = yield task.when_all([ctx.call_sub_orchestrator(child, input=number) for number in range(3)])
    named = yield ctx.call_sub_orchestrator("child", input=9)
    try:
        yield ctx.call_sub_orchestrator(child, input=-1)
    except task.TaskFailedError as error:
        return [found, named, error.details.error_type, error.details.message, str(error)]


def grandchild_fails(ctx: task.OrchestrationContext, depth: int) -> Any:
    if depth == 0:
        yield ctx.call_activity(explode, input="deep")
    try:
        yield ctx.call_sub_orchestrator(grandchild_fails, input=depth - 1)
    except task.TaskFailedError as error:
        inner, links = error.details.inner_failure, [error.details.error_type]
        while inner is not None:
            links.append(inner.error_type)
            inner = inner.inner_failure
        return links


def catching(ctx: task.OrchestrationContext, text: str) -> Any:
    try:
        yield ctx.call_activity(explode, input=text)
    except task.TaskFailedError as error:
        details = error.details
        seen = [details.error_type, details.message, details.is_caused_by(ValueError), "explode" in str(details)]
        return [*seen, str(error).removeprefix(ctx.instance_id)]


def uncaught(ctx: task.OrchestrationContext, text: str) -> Any:
    yield ctx.call_activity(explode, input=text)


def retried(ctx: task.OrchestrationContext, times: int) -> Any:
    try:
        return (yield ctx.call_activity(fail_times, input=times, retry_policy=RETRY))
    except task.TaskFailedError as error:
        return [error.details.message, str(error).removeprefix(ctx.instance_id)]


def numbered(ctx: task.OrchestrationContext, _: Any) -> Any:
    yield ctx.create_timer(SHORT)
    ctx.signal_entity(EntityInstanceId("counter", ctx.instance_id), "add", 1)
    yield ctx.call_activity(double, input=1)
    try:
        yield ctx.call_activity(explode, input="fourth")
    except task.TaskFailedError as error:
        return str(error).removeprefix(ctx.instance_id)


def joined(ctx: task.OrchestrationContext, _: Any) -> Any:
    failed, slow = ctx.call_activity(explode, input="bang"), ctx.create_timer(4 * SHORT)
    tasks: list[task.Task[Any]] = [failed, slow]
    both = task.when_all(tasks)
    first = yield task.when_any([both, failed])
    seen = [first is failed, failed.is_failed, both.is_complete, both.get_completed_tasks()]
    try:
        yield both
    except task.TaskFailedError as error:
        return [*seen, slow.is_complete, both.is_failed, error.details.message]


def racing(ctx: task.OrchestrationContext, _: Any) -> Any:
    slow, fast = ctx.create_timer(LONG), ctx.call_activity(double, input=2)
    tasks: list[task.Task[Any]] = [slow, fast]
    winner = yield task.when_any(tasks)
    cancelled = [slow.cancel(), slow.cancel(), slow.is_cancelled]
    again = yield task.when_any([fast, fast])
    return [winner is fast, again is fast, winner.get_result(), cancelled]


def one_by_one(ctx: task.OrchestrationContext, count: int) -> Any:
    tasks = [ctx.call_activity(double, input=number) for number in range(count)]
    found = []
    while tasks:
        winner = yield task.when_any(tasks)
        tasks.remove(winner)
        found.append(winner.get_result())
    return sorted(found)


def timers(ctx: task.OrchestrationContext, _: Any) -> Any:
    begun = ctx.current_utc_datetime
    yield ctx.create_timer(SHORT)
    yield ctx.create_timer(ctx.current_utc_datetime + SHORT)
    yield ctx.create_timer(begun - LONG)
    return [begun.tzinfo, ctx.current_utc_datetime - begun >= 2 * SHORT]


def events(ctx: task.OrchestrationContext, _: Any) -> Any:
    first = yield ctx.wait_for_external_event("A")
    order = yield ctx.wait_for_external_event("b", data_type=Order)
    two = yield task.when_all([ctx.wait_for_external_event("a"), ctx.wait_for_external_event("a")])
    return [first, type(order).__name__, two]


def lost_wait(ctx: task.OrchestrationContext, _: Any) -> Any:
    lost = ctx.wait_for_external_event("a")
    tasks: list[task.Task[Any]] = [lost, ctx.wait_for_external_event("b")]
    yield task.when_any(tasks)
    second = ctx.wait_for_external_event("a")
    yield second
    return [lost.get_result(), second.get_result()]


def cancelled_wait(ctx: task.OrchestrationContext, _: Any) -> Any:
    lost = ctx.wait_for_external_event("a")
    tasks: list[task.Task[Any]] = [lost, ctx.wait_for_external_event("b")]
    yield task.when_any(tasks)
    lost.cancel()
    return (yield ctx.wait_for_external_event("a"))


def again(ctx: task.OrchestrationContext, count: int) -> Any:
    yield ctx.create_timer(SHORT)
    if count < 3:
        ctx.continue_as_new(count + 1)
        return "not this"
    return count


def again_at_a_yield(ctx: task.OrchestrationContext, count: int) -> Any:
    yield ctx.call_activity(double, input=1)
    if count < 3:
        ctx.continue_as_new(count + 1)
        yield ctx.wait_for_external_event("never")
    return count


def keeps_events(ctx: task.OrchestrationContext, seen: list[Any]) -> Any:
    if len(seen) == 3:
        return seen
    event = yield ctx.wait_for_external_event("a")
    ctx.continue_as_new([*seen, event], save_events=True)


def status_of(ctx: task.OrchestrationContext, value: Any) -> Any:
    ctx.set_custom_status({"value": value})
    yield ctx.create_timer(SHORT)
    ctx.set_custom_status(Order("pen"))
    return ctx.new_uuid() != ctx.new_uuid()


def entities(ctx: task.OrchestrationContext, _: Any) -> Any:
    counter, other = EntityInstanceId("Counter", ctx.instance_id), EntityInstanceId("tally", ctx.instance_id)
    ctx.signal_entity(counter, "add", 2)
    found = [(yield ctx.call_entity(counter, "add", 3)), (yield ctx.call_entity(other, "add", 4))]
    found += [(yield ctx.call_entity(counter, "default")), (yield ctx.call_entity(counter, "default", 6))]
    for operation in ("spoil", "missing"):
        try:
            yield ctx.call_entity(counter, operation, "bang")
        except task.TaskFailedError as error:
            inner = error.details.inner_failure
            found.append(str(error).replace(ctx.instance_id, "ID"))
            found.append(inner.error_type if inner is not None else None)
    found.append((yield ctx.call_entity(counter, "get")))
    yield ctx.call_entity(counter, "delete")
    return [*found, (yield ctx.call_entity(counter, "get"))]


def locks(ctx: task.OrchestrationContext, amount: int) -> Any:
    source, target = (EntityInstanceId("Counter", f"{ctx.instance_id}-{end}") for end in ("a", "b"))
    with (yield ctx.lock_entities([source, target])):
        yield ctx.call_entity(source, "add", -amount)
        yield ctx.call_entity(target, "add", amount)
        refused = []
        for forbidden in (
            lambda: ctx.signal_entity(source, "add", 1),
            lambda: ctx.call_entity(EntityInstanceId("Counter", "other"), "get"),
            lambda: ctx.lock_entities([source]),
        ):
            try:
                forbidden()
            except RuntimeError as error:
                refused.append(str(error))
    return [refused, (yield ctx.call_entity(source, "get")), (yield ctx.call_entity(target, "get"))]


def result_that_fails(ctx: task.OrchestrationContext, _: Any) -> Any:
    yield ctx.create_timer(SHORT)
    return object()


def activity_result_that_fails(ctx: task.OrchestrationContext, _: Any) -> Any:
    try:
        yield ctx.call_activity(strange)
    except task.TaskFailedError as error:
        return error.details.error_type


def input_that_fails(ctx: task.OrchestrationContext, _: Any) -> Any:
    try:
        ctx.call_activity(echo, input=object())
    except TypeError as error:
        return str(error).partition(" to JSON")[0]
    yield ctx.create_timer(SHORT)


ACTIVITIES = (double, pack, bill, echo, explode, fail_times, strange)
ENTITIES = (Counter, tally)
ORCHESTRATORS = (
    chain,
    plain,
    values,
    typed,
    child,
    parent,
    grandchild_fails,
    catching,
    uncaught,
    retried,
    numbered,
    joined,
    racing,
    one_by_one,
    timers,
    events,
    lost_wait,
    cancelled_wait,
    again,
    again_at_a_yield,
    keeps_events,
    status_of,
    entities,
    locks,
    result_that_fails,
    activity_result_that_fails,
    input_that_fails,
)
