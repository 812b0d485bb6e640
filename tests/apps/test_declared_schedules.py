"""The inputs of schedules are checked by what their orchestrators declare, when the app is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.apps.declared_schedules import ScheduleDeclarations, collect_schedules
from durablecli.config import config_from_mapping
from durablecli.store.query import Query

Context = df.DurableOrchestrationContext


@dataclass
class Order:
    id: int
    city: str = "Wien"


@dataclass
class Options:
    days: int = 7


def make_order(**options: Any) -> Any:
    @df.orchestrator(schedule="0 3 * * *", **options)
    def order(context: Context, order: Order) -> None: ...

    return order


@df.orchestrator(schedule="0 3 * * *")
def with_defaults(context: Context, options: Options) -> int:
    return options.days


@df.orchestrator(schedule="0 3 * * *", input=[1])
def untyped(context: Context) -> None: ...


def collect(*functions: Any, **schedules: Any) -> ScheduleDeclarations:
    return collect_schedules(testing.build_registry(*functions), config_from_mapping({"schedules": schedules}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": {"id": "x"}}, "$.id: expected int, got"),
        ({"input": 7}, "$: expected"),
        ({}, "$.id: missing field (order needs: id)"),
    ],
)
def test_a_decorator_with_a_wrong_input_has_its_schedule_off(options: dict[str, Any], message: str) -> None:
    found = collect(make_order(**options), untyped)
    assert list(found.schedules) == ["untyped"]
    [problem] = found.problems
    assert "test_declared_schedules.py:" in problem
    assert "the schedule of order is off: its input doesn't fit: " in problem
    assert message in problem
    assert "\n" not in problem
    assert dict(found.broken) == {"order": problem}


def test_a_setting_with_a_wrong_input_has_its_schedule_off() -> None:
    wrong = {"orchestrator": "Order", "schedule": "@daily", "input": {"id": []}}
    right = {"orchestrator": "order", "schedule": "@daily", "input": {"id": 3}}
    found = collect(make_order(input={"id": 1}), wrong=wrong, right=right)
    assert list(found.schedules) == ["order", "right"]
    [problem] = found.problems
    assert problem.startswith("durable.yaml: schedule 'wrong' is off: its input doesn't fit order: $.id: expected int")


def test_a_right_entry_of_the_settings_replaces_a_wrong_decorator() -> None:
    entry = {"orchestrator": "order", "schedule": "@daily", "input": {"id": 3}}
    found = collect(make_order(), order=entry)
    assert found.problems == ()
    assert found.schedules["order"].spec.input == {"id": 3}


def test_without_an_input_the_defaults_of_the_fields_apply() -> None:
    found = collect(with_defaults)
    assert found.schedules["with_defaults"].spec.input == {}
    with testing.hub(with_defaults, schedules=True) as hub:
        hub.advance(timedelta(days=1))
        [run] = hub.client.iter_ids(Query(tags={"durable.schedule": "with_defaults"}))
        assert hub.client.get_status(run).output == 7
