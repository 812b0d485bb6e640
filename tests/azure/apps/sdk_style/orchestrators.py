import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task
from durabletask.entities import EntityInstanceId

bp = df.Blueprint()
RETRY = task.RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=3)
attempts: dict[str, int] = {}


@dataclass
class Order:
    item: str
    count: int


class Parcel:
    """Travels in an envelope that names its class."""

    def __init__(self, weight: int) -> None:
        self.weight = weight

    @staticmethod
    def to_json(parcel: "Parcel") -> str:
        return json.dumps({"weight": parcel.weight})

    @staticmethod
    def from_json(text: str) -> "Parcel":
        return Parcel(json.loads(text)["weight"])


# ── activities ───────────────────────────────────────────────────────────────────────────────────────────────────────


@bp.activity_trigger(input_name="city")
def hello(city: str) -> str:
    return f"Hello {city}!"


@bp.activity_trigger(input_name="number")
def square(ctx, number: int) -> int:
    return number * number


@bp.activity_trigger(input_name="given", activity="Named")
async def renamed(ctx: task.ActivityContext, order: Order) -> list[Any]:
    return [ctx.orchestration_id, type(order).__name__, order.count]


@bp.activity_trigger(input_name="parcel")
def weigh(parcel: Parcel) -> Parcel:
    return Parcel(parcel.weight + 1)


@bp.activity_trigger(input_name="text")
def explode(text: str) -> None:
    raise ValueError(text)


@bp.activity_trigger(input_name="input")
def fail_times(input: dict) -> int:
    key = input["key"]
    attempts[key] = attempts.get(key, 0) + 1
    if attempts[key] <= input["times"]:
        raise OSError(f"attempt {attempts[key]}")
    return attempts[key]


@bp.durable_client_input(client_name="client")
@bp.activity_trigger(input_name="name")
async def start_from_activity(name: str, client: df.DurableFunctionsClient) -> str:
    id = await client.schedule_new_orchestration(name, input="Rome")
    state = await client.wait_for_orchestration_completion(id, timeout=20)
    return state.get_output()


# ── orchestrators ────────────────────────────────────────────────────────────────────────────────────────────────────


@bp.orchestration_trigger(context_name="ctx")
def chain(ctx: task.OrchestrationContext, cities: list):
    found = []
    for city in cities:
        found.append((yield ctx.call_activity("hello", input=city)))
    return found


@bp.orchestration_trigger(context_name="ctx")
def fan_out(ctx, count: int):
    squares = yield task.when_all([ctx.call_activity("square", input=number) for number in range(count)])
    return sum(squares)


@bp.orchestration_trigger(context_name="ctx", orchestration="Renamed")
def by_another_name(ctx, _):
    return (yield ctx.call_activity("Named", input=Order("pen", 3), return_type=list))


@bp.orchestration_trigger(context_name="ctx")
def child(ctx, city):
    if city == "Atlantis":
        raise LookupError("there is no such city")
    return [(yield ctx.call_activity("hello", input=city)), ctx.parent_instance_id]


@bp.orchestration_trigger(context_name="ctx")
def parent(ctx, cities):
    return (yield task.when_all([ctx.call_sub_orchestrator("child", input=city) for city in cities]))


@bp.orchestration_trigger(context_name="ctx")
def parent_of_a_named_child(ctx, instance_id):
    return (yield ctx.call_sub_orchestrator("child", input="Oslo", instance_id=instance_id))


@bp.orchestration_trigger(context_name="ctx")
def sleep(ctx, milliseconds):
    begun = ctx.current_utc_datetime
    yield ctx.create_timer(timedelta(milliseconds=milliseconds))
    yield ctx.create_timer(ctx.current_utc_datetime + timedelta(milliseconds=milliseconds))
    return ctx.current_utc_datetime - begun >= 2 * timedelta(milliseconds=milliseconds)


@bp.orchestration_trigger(context_name="ctx")
def approval(ctx, milliseconds):
    ctx.set_custom_status("waiting")
    approved = ctx.wait_for_external_event("Approval")
    timeout = ctx.create_timer(timedelta(milliseconds=milliseconds))
    winner = yield task.when_any([approved, timeout])
    if winner is timeout:
        return "timed out"
    timeout.cancel()
    ctx.set_custom_status({"approved": True})
    return approved.get_result()


@bp.orchestration_trigger(context_name="ctx")
def collect(ctx, count):
    first = yield task.when_all([ctx.wait_for_external_event("part") for _ in range(count)])
    typed = yield ctx.wait_for_external_event("order", data_type=Order)
    return [first, type(typed).__name__]


@bp.orchestration_trigger(context_name="ctx")
def send(ctx, target):
    ctx.send_event(target, "Approval", data="by another")
    return "sent"


@bp.orchestration_trigger(context_name="ctx")
def retried(ctx, times):
    given = {"key": ctx.instance_id, "times": times}
    return (yield ctx.call_activity("fail_times", input=given, retry_policy=RETRY))


@bp.orchestration_trigger(context_name="ctx")
def retried_child(ctx, _):
    try:
        yield ctx.call_sub_orchestrator("child", input="Atlantis", retry_policy=RETRY)
    except task.TaskFailedError as error:
        return [error.details.error_type, error.details.message]


@bp.orchestration_trigger(context_name="ctx")
def retried_with_options(ctx, times):
    given = {"key": ctx.instance_id, "times": times}
    options = df.RetryOptions(first_retry_interval_in_milliseconds=10, max_number_of_attempts=2)
    return (yield ctx.call_activity("fail_times", input=given, retry_policy=options))


@bp.orchestration_trigger(context_name="ctx")
def failing(ctx, text):
    yield ctx.call_activity("explode", input=text)


@bp.orchestration_trigger(context_name="ctx")
def catching(ctx, text):
    try:
        yield ctx.call_activity("explode", input=text)
    except task.TaskFailedError as error:
        return [error.details.error_type, error.details.message, error.details.is_caused_by(ValueError)]


@bp.orchestration_trigger(context_name="ctx")
def fails_at_once(ctx, text):
    raise RuntimeError(text)


@bp.orchestration_trigger(context_name="ctx")
def counter_loop(ctx, count):
    yield ctx.create_timer(timedelta(milliseconds=1))
    if count < 5:
        ctx.continue_as_new(count + 1)
        return
    return count


@bp.orchestration_trigger(context_name="ctx")
def drain_events(ctx, seen):
    if len(seen) == 3:
        return seen
    event = yield ctx.wait_for_external_event("next")
    ctx.continue_as_new([*seen, event], save_events=True)


@bp.orchestration_trigger(context_name="ctx")
def statuses(ctx, _):
    ctx.set_custom_status({"step": 1})
    yield ctx.wait_for_external_event("go")
    ctx.set_custom_status(None)
    yield ctx.wait_for_external_event("go")


@bp.orchestration_trigger(context_name="ctx")
def typed(ctx, order: Order):
    parcel = yield ctx.call_activity("weigh", input=Parcel(order.count))
    return [type(order).__name__, type(parcel).__name__, parcel.weight]


@bp.orchestration_trigger(context_name="ctx")
def identity(ctx, _):
    first, second = ctx.new_uuid(), ctx.new_uuid()
    yield ctx.create_timer(timedelta(milliseconds=1))
    return [ctx.instance_id, first != second, ctx.version, ctx.current_utc_datetime.tzinfo]


@bp.orchestration_trigger(context_name="ctx")
def through_an_activity(ctx, _):
    return (yield ctx.call_activity("start_from_activity", input="child"))


@bp.orchestration_trigger(context_name="ctx")
def fast_and_slow(ctx, _):
    slow = ctx.create_timer(timedelta(minutes=10))
    fast = ctx.call_activity("square", input=5)
    winner = yield task.when_any([slow, fast])
    slow.cancel()
    return [winner is fast, winner.get_result(), slow.is_cancelled]


@bp.orchestration_trigger(context_name="ctx")
def first_failure(ctx, _):
    failed = ctx.call_activity("explode", input="bang")
    fine = ctx.call_activity("square", input=2)
    try:
        yield task.when_all([failed, fine])
    except task.TaskFailedError as error:
        return [error.details.message, fine.is_complete]


@bp.orchestration_trigger(context_name="context")
def one_parameter(context: df.DurableOrchestrationContext):
    """The older style beside the newer one."""
    found = yield context.task_all([context.call_activity("hello", city) for city in context.get_input()])
    total = yield context.call_sub_orchestrator("fan_out", 3)
    return [*found, total]


@bp.orchestration_trigger(context_name="ctx")
def uses_entities(ctx, key):
    counter = EntityInstanceId("Counter", key)
    ctx.signal_entity(counter, "add", 2)
    yield ctx.call_entity(counter, "add", 3)
    first = yield ctx.call_entity(counter, "get")
    second = yield ctx.call_entity(df.EntityId("tally", key), "add", 7)
    try:
        yield ctx.call_entity(counter, "break_it")
    except task.TaskFailedError as error:
        return [first, second, str(error), (yield ctx.call_entity(counter, "get"))]


@bp.orchestration_trigger(context_name="ctx")
def transfer(ctx, amount):
    source, target = EntityInstanceId("Counter", "source"), EntityInstanceId("Counter", "target")
    with (yield ctx.lock_entities([source, target])):
        yield ctx.call_entity(source, "add", -amount)
        yield ctx.call_entity(target, "add", amount)
        left = yield ctx.call_entity(source, "get")
        return [left, (yield ctx.call_entity(target, "get"))]


@bp.orchestration_trigger(context_name="context", input_type=Order)
def with_input_type(context: df.DurableOrchestrationContext):
    fine, failed = context.call_activity("square", 3), context.call_activity("explode", "bang")
    yield context.task_any([failed])
    yield fine
    return [
        type(context.get_input()).__name__,
        fine.is_complete,
        fine.is_failed,
        failed.is_failed,
        str(failed.get_exception()),
    ]
