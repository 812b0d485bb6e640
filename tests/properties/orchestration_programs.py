"""Random orchestrations: a small language, its interpreter, and the strategies that write programs in it.

One orchestrator runs them all: the program is its input. What an activity does is a function of its input, its attempt
and whether the world has been mended, so every run of a program can be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

import durablecli as df

EVENT_NAMES = ("red", "blue")
ROOT_IDS = ("a", "b")
CHILD_IDS = ("shared", "own")
Body = list[list[Any]]
Flow = Generator[Any, Any, Any]

CONSTRUCTS = (
    "call",
    "sick",
    "fan",
    "timer",
    "cancel",
    "stop",
    "stop_child",
    "fail_fast",
    "late",
    "wait",
    "race",
    "any",
    "as_completed",
    "again_any",
    "shared",
    "fire",
    "retry",
    "retry_by_error",
    "child",
    "beside",
    "named_child",
    "send",
    "again",
    "status",
    "swallow",
    "reraise",
)


class ProgramEnvironment:
    """What lies outside of all orchestrations: what activities have run, and whether the sick ones are well again."""

    def __init__(self) -> None:
        self.repaired = False
        self.activity_runs: Counter[tuple[str, int]] = Counter()
        self.coverage: set[str] = set()

    def make_functions(self) -> list[Any]:
        @df.activity
        def work(order: dict[str, Any], context: df.ActivityContext) -> Any:
            self.activity_runs[context.idempotency_key, context.task_id] += 1
            if order.get("sick") and not self.repaired:
                raise ValueError(f"{order['key']} is sick")
            if context.attempt <= order.get("late", 0):
                raise df.ActivityTimedOut("ran longer than 1 s")
            if context.attempt <= order.get("fails", 0):
                if "after" in order:
                    raise df.RetryAfter(order["after"])
                raise ConnectionError(f"{order['key']}, attempt {context.attempt}")
            return order["key"]

        @df.orchestrator
        def play(context: df.DurableOrchestrationContext) -> Flow:
            given = context.get_input()
            log: list[Any] = []
            done = yield from _run(context, given["body"], given["round"], log, self.coverage)
            if done:
                return log
            context.continue_as_new({"body": given["body"], "round": given["round"] + 1}, save_events=True)
            return None

        return [work, play]


def _run(context: Any, body: Body, round: int, log: list[Any], coverage: set[str]) -> Flow:
    """Run statements one after another; False to continue as new."""
    for statement in body:
        verb, *rest = statement
        coverage.add(verb)
        if verb == "again":
            if round < rest[0]:
                return False
            continue
        if verb in ("swallow", "reraise"):
            try:
                if not (yield from _run(context, rest[0], round, log, coverage)):
                    return False
            except df.TaskFailedError as error:
                log.append(str(error))
                yield context.call_activity("work", {"key": "cleanup"})
                if verb == "reraise":
                    raise RuntimeError("given up") from error
            continue
        log.append((yield from _STATEMENTS[verb](context, *rest)))
    return True


def _call(context: Any, key: str) -> Flow:
    return (yield context.call_activity("work", {"key": key}))


def _sick(context: Any, key: str) -> Flow:
    return (yield context.call_activity("work", {"key": key, "sick": True}))


def _fan(context: Any, size: int, sick: int | None) -> Flow:
    tasks = [context.call_activity("work", {"key": f"f{i}", "sick": i == sick}) for i in range(size)]
    return (yield context.task_all(tasks))


def _timer(context: Any, seconds: int) -> Flow:
    yield context.create_timer(timedelta(seconds=seconds))
    return "slept"


def _cancel(context: Any, seconds: int) -> Flow:
    timer = context.create_timer(timedelta(seconds=seconds))
    task = context.call_activity("work", {"key": "quick"})
    winner = yield context.task_any([task, timer])
    if winner is timer:
        return "late"
    timer.cancel()
    return "cancelled"


def _stop(context: Any, seconds: int, fails: int) -> Flow:
    """Cancel calls after some time, if they still run: one that is retried, and one at once."""
    policy = df.RetryPolicy(timedelta(seconds=2), 3)
    tasks = [context.call_activity_with_retry("work", policy, {"key": "s", "fails": fails})]
    tasks.append(context.call_activity("work", {"key": "at once"}))
    tasks[1].cancel()
    yield context.task_any([tasks[0], context.create_timer(timedelta(seconds=seconds))])
    if not tasks[0].is_completed:
        tasks[0].cancel()
    log = []
    for task in tasks:
        try:
            log.append((yield task))
        except df.TaskCanceledError as error:
            log.append(str(error))
    return log


def _stop_child(context: Any, body: Body, seconds: int) -> Flow:
    """Cancel a child after some time, or at once; another of the same id may follow."""
    task = context.call_sub_orchestrator("play", {"body": body, "round": 1}, f"{context.instance_id}-own")
    if seconds > 1:
        yield context.task_any([task, context.create_timer(timedelta(seconds=seconds))])
    if task.is_completed:
        return "completed"
    task.cancel()
    return task.is_cancelled


def _fail_fast(context: Any, size: int, name: str, sick: int | None) -> Flow:
    tasks = [context.call_activity("work", {"key": f"q{i}", "sick": i == sick}) for i in range(size)]
    other = context.task_any([context.create_timer(timedelta(seconds=9)), context.wait_for_external_event(name)])
    child = context.call_sub_orchestrator("play", {"body": [["call", "x"], ["timer", 3]], "round": 1})
    pair = context.task_all([other, child], fail_fast=True)
    return (yield context.task_all([*tasks, pair], fail_fast=True))[:size]


def _late(context: Any, times: int, attempts: int) -> Flow:
    policy = df.RetryPolicy(timedelta(seconds=1), attempts)
    try:
        return (yield context.call_activity_with_retry("work", policy, {"key": "late", "late": times}))
    except df.ActivityTimedOut as error:
        return str(error)


def _wait(context: Any, name: str) -> Flow:
    return (yield context.wait_for_external_event(name))


def _race(context: Any, name: str, seconds: int) -> Flow:
    event = context.wait_for_external_event(name)
    timer = context.create_timer(timedelta(seconds=seconds))
    winner = yield context.task_any([event, timer])
    if winner is event:
        timer.cancel()
        return event.result
    return "no event"


def _any(context: Any, size: int) -> Flow:
    tasks = [context.call_activity("work", {"key": f"g{i}"}) for i in range(size)]
    pair = context.task_all(tasks[:2])
    winner = yield context.task_any([pair, *tasks[2:]])
    rest = yield context.task_all(tasks)
    return [winner is pair, rest]


def _as_completed(context: Any, size: int, name: str) -> Flow:
    tasks = [context.call_activity("work", {"key": f"c{i}"}) for i in range(size)]
    tasks.append(context.wait_for_external_event(name))
    tasks.append(context.create_timer(timedelta(seconds=size)))
    order = []
    while tasks:
        winner = yield context.task_any(tasks)
        tasks.remove(winner)
        order.append(winner.result)
    return order


def _again_any(context: Any, name: str, seconds: int) -> Flow:
    """A race within a race that goes on, awaited again once it is over, beside a wait of the same name."""
    lost = context.wait_for_external_event(name)
    inner = context.task_any([lost, context.create_timer(timedelta(seconds=seconds))])
    others = [context.call_activity("work", {"key": "h"}), context.create_timer(timedelta(seconds=seconds + 1))]
    tasks = [inner, *others]
    for _ in range(2):
        tasks.remove((yield context.task_any(tasks)))
    yield inner
    later = context.wait_for_external_event(name)
    yield context.task_any([later, context.create_timer(timedelta(seconds=seconds))])
    return [lost.result, later.result]


def _shared(context: Any, names: tuple[str, str], seconds: int) -> Flow:
    """Two waits, one of which two races need."""
    first, second = (context.wait_for_external_event(name) for name in names)
    races = [context.task_any([first, context.create_timer(timedelta(seconds=seconds))])]
    races.append(context.task_any([first, second]))
    yield context.task_all(races)
    return [first.result, second.result]


def _fire(context: Any, name: str) -> Flow:
    context.call_activity("work", {"key": "forgotten"})
    context.wait_for_external_event(name)
    context.create_timer(timedelta(seconds=3))
    return "fired"
    yield


def _retry(context: Any, fails: int, attempts: int) -> Flow:
    policy = df.RetryPolicy(timedelta(seconds=2), attempts, 2.0)
    return (yield context.call_activity_with_retry("work", policy, {"key": "r", "fails": fails}))


def _retry_by_error(context: Any, fails: int, kind: str, after: float | None) -> Flow:
    """A call whose retries depend on the failure, and whose delays have jitter, unless the activity sets them."""
    policy = df.RetryPolicy(first=4, max_attempts=3, coefficient=2.0, jitter=0.75, retry_on=[kind])
    order = {"key": "e", "fails": fails} | ({} if after is None else {"after": after})
    return (yield context.call_activity("work", order, retry=policy))


def _child(context: Any, body: Body, attempts: int) -> Flow:
    given = {"body": body, "round": 1}
    if attempts == 1:
        return (yield context.call_sub_orchestrator("play", given))
    return (
        yield context.call_sub_orchestrator_with_retry("play", df.RetryPolicy(timedelta(seconds=1), attempts), given)
    )


def _beside(context: Any, body: Body, sick: bool) -> Flow:
    task = context.call_sub_orchestrator("play", {"body": body, "round": 1})
    first = yield context.call_activity("work", {"key": "beside", "sick": sick})
    return [first, (yield task)]


def _named_child(context: Any, id: str, body: Body) -> Flow:
    if id == "own":
        id = f"{context.instance_id}-own"
    elif context.instance_id == id:
        return "that is me"
    return (yield context.call_sub_orchestrator("play", {"body": body, "round": 1}, id))


def _send(context: Any, target: str, name: str) -> Flow:
    context.send_event(target, name, "hello")
    return "sent"
    yield


def _status(context: Any, value: Any) -> Flow:
    context.set_custom_status(value)
    return context.custom_status
    yield


_STATEMENTS: dict[str, Callable[..., Flow]] = {
    "call": _call,
    "sick": _sick,
    "fan": _fan,
    "timer": _timer,
    "cancel": _cancel,
    "stop": _stop,
    "stop_child": _stop_child,
    "fail_fast": _fail_fast,
    "late": _late,
    "wait": _wait,
    "race": _race,
    "any": _any,
    "as_completed": _as_completed,
    "again_any": _again_any,
    "shared": _shared,
    "fire": _fire,
    "retry": _retry,
    "retry_by_error": _retry_by_error,
    "child": _child,
    "beside": _beside,
    "named_child": _named_child,
    "send": _send,
    "status": _status,
}

# ── strategies ───────────────────────────────────────────────────────────────────────────────────────────────────────

_event_names = st.sampled_from(EVENT_NAMES)
_small_ints = st.integers(1, 4)
_leaf = st.one_of(
    st.tuples(st.just("call"), st.sampled_from("xyz")),
    st.tuples(st.just("sick"), st.sampled_from("xyz")),
    st.tuples(st.just("fan"), st.integers(0, 5), st.sampled_from([None, 0, 2])),
    st.tuples(st.just("timer"), _small_ints),
    st.tuples(st.just("cancel"), _small_ints),
    st.tuples(st.just("stop"), _small_ints, st.integers(0, 2)),
    st.tuples(st.just("fail_fast"), _small_ints, _event_names, st.sampled_from([None, 0, 1])),
    st.tuples(st.just("late"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("wait"), _event_names),
    st.tuples(st.just("race"), _event_names, _small_ints),
    st.tuples(st.just("any"), st.integers(3, 5)),
    st.tuples(st.just("as_completed"), _small_ints, _event_names),
    st.tuples(st.just("again_any"), _event_names, _small_ints),
    st.tuples(st.just("shared"), st.tuples(_event_names, _event_names), _small_ints),
    st.tuples(st.just("fire"), _event_names),
    st.tuples(st.just("retry"), st.integers(0, 2), st.integers(1, 3)),
    st.tuples(
        st.just("retry_by_error"),
        st.integers(1, 2),
        st.sampled_from(["ConnectionError", "KeyError"]),
        st.sampled_from([None, 0.5, 3]),
    ),
    st.tuples(st.just("send"), st.sampled_from([*ROOT_IDS, *CHILD_IDS, "a-own"]), _event_names),
    st.tuples(st.just("status"), st.integers(0, 9)),
    st.tuples(st.just("again"), st.integers(2, 3)),
)


def _compound(body: st.SearchStrategy[Body]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.tuples(st.just("child"), body, st.integers(1, 2)),
        st.tuples(st.just("beside"), body, st.booleans()),
        st.tuples(st.just("named_child"), st.sampled_from(CHILD_IDS), body),
        st.tuples(st.just("stop_child"), body, _small_ints),
        st.tuples(st.just("swallow"), body),
        st.tuples(st.just("reraise"), body),
    )


def _bodies(depth: int) -> st.SearchStrategy[Any]:
    statement: st.SearchStrategy[Any] = _leaf
    if depth:
        statement = st.one_of(_leaf, _leaf, _compound(_bodies(depth - 1)))
    return st.lists(statement, min_size=1, max_size=4)


programs = st.tuples(_bodies(2), _bodies(2))

_targets = st.sampled_from([*ROOT_IDS, *ROOT_IDS, "shared", "a-own"])
_action = st.one_of(
    st.tuples(st.just("work"), st.integers(0, 5)),
    st.tuples(st.just("work"), st.integers(0, 5)),
    st.tuples(st.just("event"), _targets, _event_names),
    st.tuples(st.just("advance"), _small_ints),
    st.tuples(st.sampled_from(["terminate", "suspend", "resume", "back"]), _targets),
    st.tuples(st.sampled_from(["rewind", "purge", "rewind", "mend"]), _targets),
)
actions = st.lists(_action, max_size=16)
