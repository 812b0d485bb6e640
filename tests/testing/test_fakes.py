"""Fakes of activities: what they return, raise or call, and how long they take by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

import durablecli as df
from durablecli import testing

Context = df.DurableOrchestrationContext
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass
class Order:
    id: int


@dataclass
class Receipt:
    number: int


@df.activity(timeout="10m")
def charge(order: Order) -> Receipt:
    raise AssertionError("the bank was called")


@df.activity(rate="1/m")
def limited(value: int) -> int:
    raise AssertionError


@df.activity
def other(value: Any) -> Any:
    return "real"


@df.orchestrator
def pay(context: Context) -> Any:
    receipt = yield context.call_activity(charge, Order(7))
    return type(receipt).__name__, receipt.number


@df.orchestrator
def one(context: Context) -> Any:
    name, value, attempts = context.get_input()
    return (yield context.call_activity(name, value, retry=df.RetryPolicy(first=60, max_attempts=attempts)))


@df.orchestrator
def many(context: Context) -> Any:
    return (yield context.task_all([context.call_activity(limited, each) for each in context.get_input()]))


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with testing.hub(charge, limited, other, pay, one, many) as hub:
        yield hub


def run(hub: testing.TestEnvironment, name: str, value: Any = None, attempts: int = 1) -> Any:
    return hub.finish(hub.client.start_new(one, client_input=[name, value, attempts])).output


def now(hub: testing.TestEnvironment) -> timedelta:
    return hub.clock.now() - testing.START


def test_a_fake_returns_its_value_with_the_type_of_the_activity(hub: testing.TestEnvironment) -> None:
    hub.fake("charge", Receipt(3))
    assert hub.finish(hub.client.start_new(pay)).output == ["Receipt", 3]
    hub.fake(charge, {"number": 4})
    assert hub.finish(hub.client.start_new(pay)).output == ["Receipt", 4]


def test_a_fake_takes_its_time(hub: testing.TestEnvironment) -> None:
    hub.fake(charge, Receipt(3), takes=9 * MINUTE)
    instance = hub.client.start_new(pay)
    hub.advance(8 * MINUTE)
    assert not hub.client.get_status(instance).ended
    hub.finish(instance)
    assert now(hub) == 9 * MINUTE


def test_a_fake_that_takes_too_long_times_out(hub: testing.TestEnvironment) -> None:
    hub.fake(charge, Receipt(3), takes="1h")
    assert "ran longer than" in hub.finish(hub.client.start_new(pay)).output
    assert now(hub) == 10 * MINUTE


def test_a_fake_raises_an_exception_or_a_class_of_them(hub: testing.TestEnvironment) -> None:
    hub.fake(other, ConnectionError("closed"))
    assert run(hub, "other", attempts=3) == "Activity function 'other' failed: ConnectionError: closed"
    hub.fake(other, TimeoutError)
    assert "TimeoutError" in run(hub, "other")
    hub.fake(other, df.RetryAfter(600))
    run(hub, "other", attempts=2)
    assert now(hub) == 12 * MINUTE


def test_a_fake_calls_a_function_with_what_the_activity_gets(hub: testing.TestEnvironment) -> None:
    def succeeds_late(value: int, context: df.ActivityContext) -> int:
        if context.attempt < 3:
            raise ConnectionError
        return value + 1

    hub.fake(other, succeeds_late, takes=30)
    assert run(hub, "other", 4, attempts=3) == 5
    assert now(hub) == timedelta(seconds=3 * 30 + 2 * 60)


def test_parameters_named_as_those_of_the_activity_have_their_types(hub: testing.TestEnvironment) -> None:
    hub.fake(charge, lambda order: Receipt(order.id))
    assert hub.finish(hub.client.start_new(pay)).output == ["Receipt", 7]


async def doubles(value: int) -> int:
    return value * 2


@pytest.mark.parametrize("outcome", [Mock(return_value=8), AsyncMock(return_value=8), doubles, lambda: 8, len])
def test_any_callable_can_be_called(hub: testing.TestEnvironment, outcome: Any) -> None:
    hub.fake(other, outcome)
    assert run(hub, "other", [4] * 8 if outcome is len else 4) == 8
    if isinstance(outcome, Mock):
        outcome.assert_called_once_with(4)


def test_a_mock_may_fail_first(hub: testing.TestEnvironment) -> None:
    hub.fake("other", Mock(side_effect=[ConnectionError(), "done"]))
    assert run(hub, "other", 1, attempts=2) == "done"


def test_an_activity_without_code_can_be_faked(hub: testing.TestEnvironment) -> None:
    hub.fake("elsewhere", [1, 2])
    assert run(hub, "elsewhere") == [1, 2]


def test_a_built_in_activity_can_be_faked() -> None:
    @df.orchestrator
    def requests(context: Context) -> Any:
        response = yield context.call_http("GET", "http://localhost:1/")
        return response.status_code

    with testing.hub(requests) as hub:
        [name] = [each.name for each in hub.registry.built_in if each.kind == "activity"]
        hub.fake(name, {"statusCode": 204, "headers": {}, "content": ""}, takes=60)
        assert hub.finish(hub.client.start_new(requests)).output == 204
        assert now(hub) == MINUTE


def test_a_fake_keeps_the_limits_of_the_activity(hub: testing.TestEnvironment) -> None:
    hub.fake(limited, 0, takes=90)
    assert hub.finish(hub.client.start_new(many, client_input=[1, 2, 3])).output == [0, 0, 0]
    assert now(hub) == timedelta(seconds=2 * 60 + 90)


def test_fakes_outlive_a_restart_and_new_code(hub: testing.TestEnvironment) -> None:
    hub.fake(other, "fake")
    hub.restart()
    assert run(hub, "other") == "fake"
    hub.restart(other, one)
    assert run(hub, "other") == "fake"


def test_only_activities_are_faked(hub: testing.TestEnvironment) -> None:
    with pytest.raises(ValueError, match="only an activity can be faked, and pay is of kind orchestrator"):
        hub.fake("pay", 1)
    with pytest.raises(ValueError, match="pay is an orchestrator"):
        hub.fake(pay, 1)
    with pytest.raises(ValueError, match="takes must be at least 0"):
        hub.fake("other", takes=-1)
    assert run(hub, "other") == "real"
