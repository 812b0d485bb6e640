"""Failures of activities, orchestrators and children, and retries by a policy, with the Python SDK."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from durabletask import task
from durabletask.client import OrchestrationFailedError, OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key

calls: Counter[str] = Counter()


class OutOfStock(ValueError):
    """An error of the application."""


def policy(attempts: int, **options: Any) -> task.RetryPolicy:
    return task.RetryPolicy(first_retry_interval=timedelta(seconds=0.05), max_number_of_attempts=attempts, **options)


def fail(_: task.ActivityContext, text: str) -> None:
    raise OutOfStock(text)


def fail_with_cause(_: task.ActivityContext, text: str) -> None:
    try:
        dict[str, int]()["no such item"]
    except KeyError as error:
        raise OutOfStock(text) from error


def fail_first(_: task.ActivityContext, what: list[Any]) -> int:
    key, failures = what
    calls[key] += 1
    if calls[key] <= failures:
        raise OutOfStock(f"attempt {calls[key]}")
    return calls[key]


def compensate(_: task.ActivityContext, key: str) -> str:
    calls[key] += 1
    return "compensated"


def call_failing(context: Context, text: str) -> Turns:
    yield context.call_activity(fail, input=text)


def call_failing_with_cause(context: Context, text: str) -> Turns:
    yield context.call_activity(fail_with_cause, input=text)


def catch(context: Context, key: str) -> Turns:
    try:
        yield context.call_activity(fail, input="none left")
    except task.TaskFailedError as error:
        return [
            error.details.message,
            error.details.is_caused_by(ValueError),
            error.details.is_caused_by("KeyError"),
            (yield context.call_activity(compensate, input=key)),
        ]
    return None


def orchestrate_raise(context: Context, text: str) -> None:
    raise OutOfStock(text)


def call_failing_child(context: Context, text: str) -> Turns:
    try:
        yield context.call_sub_orchestrator(orchestrate_raise, input=text)
    except task.TaskFailedError as error:
        return error.details.message
    return None


def call_grandchild(context: Context, text: str) -> Turns:
    yield context.call_sub_orchestrator(call_failing, input=text)


def call_unknown_activity(context: Context, _: Any) -> Turns:
    yield context.call_activity("no_such_activity", input=1)


def one_of_many_fails(context: Context, count: int) -> Turns:
    tasks: list[task.Task[Any]] = [context.call_activity(fail_first, input=[new_key(), 0]) for _ in range(count)]
    tasks.append(context.call_activity(fail, input="one"))
    try:
        yield task.when_all(tasks)
    except task.TaskFailedError as error:
        return str(error)
    return None


def retry_activity(context: Context, what: list[Any]) -> Turns:
    key, failures, attempts = what
    return (yield context.call_activity(fail_first, input=[key, failures], retry_policy=policy(attempts)))


def child_that_fails_first(context: Context, what: list[Any]) -> Turns:
    return (yield context.call_activity(fail_first, input=what))


def retry_child(context: Context, what: list[Any]) -> Turns:
    key, failures, attempts = what
    return (
        yield context.call_sub_orchestrator(
            child_that_fails_first, input=[key, failures], retry_policy=policy(attempts)
        )
    )


def retry_until_timeout(context: Context, key: str) -> Turns:
    limits = policy(100, backoff_coefficient=2.0, retry_timeout=timedelta(seconds=0.5))
    yield context.call_activity(fail_first, input=[key, 1000], retry_policy=limits)


def retry_with_longest_pause(context: Context, what: list[Any]) -> Turns:
    limits = policy(6, backoff_coefficient=100.0, max_retry_interval=timedelta(seconds=0.1))
    return (yield context.call_activity(fail_first, input=what, retry_policy=limits))


def retry_in_parallel(context: Context, keys: list[str]) -> Turns:
    return (
        yield task.when_all(
            [context.call_activity(fail_first, input=[key, n], retry_policy=policy(5)) for n, key in enumerate(keys)]
        )
    )


FUNCTIONS = [
    fail, fail_with_cause, fail_first, compensate, call_failing, call_failing_with_cause, catch, orchestrate_raise,
    call_failing_child, call_grandchild, call_unknown_activity, one_of_many_fails, retry_activity,
    child_that_fails_first, retry_child, retry_until_timeout, retry_with_longest_pause, retry_in_parallel,
]  # fmt: skip


def wait_for_failure(hub: SdkHub, orchestrator: Any, input: Any = None) -> task.FailureDetails:
    state = hub.wait(hub.start(orchestrator, input))
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert state.get_output() is None
    assert state.failure_details is not None
    with pytest.raises(OrchestrationFailedError, match="failed"):
        state.raise_if_failed()
    return state.failure_details


def innermost(details: task.FailureDetails) -> task.FailureDetails:
    while details.inner_failure is not None:
        details = details.inner_failure
    return details


def test_an_orchestrator_that_raises(hub: SdkHub) -> None:
    details = wait_for_failure(hub, orchestrate_raise, "none left")
    assert details.message == "none left"
    assert details.error_type.endswith("OutOfStock")
    assert details.is_caused_by(ValueError)
    assert "orchestrate_raise" in (details.stack_trace or "")


def test_an_activity_that_raises(hub: SdkHub) -> None:
    details = wait_for_failure(hub, call_failing, "none left: ü\n2nd line")
    assert details.error_type.endswith("TaskFailedError")
    assert "none left: ü\n2nd line" in details.message
    inner = innermost(details)
    assert (inner.message, inner.is_caused_by(OutOfStock)) == ("none left: ü\n2nd line", True)
    assert "in fail" in (inner.stack_trace or "")


def test_the_cause_of_a_failure(hub: SdkHub) -> None:
    details = innermost(wait_for_failure(hub, call_failing_with_cause, "none left"))
    assert (details.message, details.error_type) == ("'no such item'", "builtins.KeyError")


def test_a_failure_that_is_caught(hub: SdkHub) -> None:
    message, is_value_error, is_key_error, done = hub.run(catch, key := new_key())
    assert "none left" in message
    assert (is_value_error, is_key_error, done) == (True, False, "compensated")
    assert calls[key] == 1


def test_a_child_that_fails(hub: SdkHub) -> None:
    assert "none left" in hub.run(call_failing_child, "none left")


@daemon_only
def test_the_failure_of_a_grandchild_keeps_its_causes(hub: SdkHub) -> None:
    inner = innermost(wait_for_failure(hub, call_grandchild, "none left"))
    assert (inner.message, inner.is_caused_by(OutOfStock)) == ("none left", True)


def test_an_orchestrator_that_no_worker_knows(hub: SdkHub) -> None:
    """A worker without filters is asked for everything."""
    details = wait_for_failure(hub, "no_such_orchestrator")
    assert "OrchestratorNotRegisteredError" in details.error_type
    assert "no_such_orchestrator" in details.message


def test_an_activity_that_no_worker_knows(hub: SdkHub) -> None:
    details = innermost(wait_for_failure(hub, call_unknown_activity))
    assert "ActivityNotRegisteredError" in details.error_type
    assert "no_such_activity" in details.message


def test_one_of_many_that_fails(hub: SdkHub) -> None:
    assert "one" in hub.run(one_of_many_fails, 5)


def test_retries_that_succeed(hub: SdkHub) -> None:
    assert hub.run(retry_activity, [new_key(), 2, 3]) == 3


def test_retries_that_are_used_up(hub: SdkHub) -> None:
    details = innermost(wait_for_failure(hub, retry_activity, [key := new_key(), 5, 3]))
    assert details.message == "attempt 3"
    assert calls[key] == 3


def test_a_policy_of_one_attempt(hub: SdkHub) -> None:
    wait_for_failure(hub, retry_activity, [key := new_key(), 5, 1])
    assert calls[key] == 1


def test_retries_of_a_child(hub: SdkHub) -> None:
    assert hub.run(retry_child, [new_key(), 2, 3]) == 3


def test_retries_of_a_child_that_are_used_up(hub: SdkHub) -> None:
    wait_for_failure(hub, retry_child, [key := new_key(), 5, 3])
    assert calls[key] == 3


def test_retries_end_with_their_time(hub: SdkHub) -> None:
    wait_for_failure(hub, retry_until_timeout, key := new_key())
    assert 2 <= calls[key] <= 6


def test_the_longest_pause(hub: SdkHub) -> None:
    assert hub.run(retry_with_longest_pause, [new_key(), 4]) == 5


def test_retries_in_parallel(hub: SdkHub) -> None:
    assert hub.run(retry_in_parallel, [new_key() for _ in range(5)]) == [1, 2, 3, 4, 5]
