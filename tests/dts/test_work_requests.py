"""What a worker tells the engine: its functions, and what it takes at the same time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import durablecli as df
from durablecli.config import ConcurrencyConfig, Config
from durablecli.dts.work_requests import make_work_requests
from durablecli.model.http_messages import HTTP_ACTIVITY, HTTP_ORCHESTRATOR
from durablecli.testing import build_registry


@df.orchestrator
def flow(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    yield context.call_activity("in_thread")


@df.activity
def in_thread() -> None: ...


@df.activity
async def on_loop() -> None: ...


@df.activity(executor="process")
def in_process() -> None: ...


@df.entity(name="Counter")
def counter(context: df.DurableEntityContext) -> None: ...


CONFIG = Config(concurrency=ConcurrencyConfig(activities=3, entities=4, process_workers=5, async_activities=6))


def test_each_executor_has_the_limit_that_the_settings_give_it() -> None:
    first, *others = make_work_requests(build_registry(flow, in_thread, on_loop, in_process, counter), CONFIG)
    assert [each.name for each in first.workItemFilters.activities] == ["in_thread", HTTP_ACTIVITY]
    assert (first.maxConcurrentActivityWorkItems, first.maxConcurrentEntityWorkItems) == (3, 4)
    assert [each.name for each in first.workItemFilters.orchestrations] == ["flow", HTTP_ORCHESTRATOR]
    assert [each.name for each in first.workItemFilters.entities] == ["counter"]
    assert {each.workItemFilters.activities[0].name: each.maxConcurrentActivityWorkItems for each in others} == {
        "on_loop": 6,
        "in_process": 5,
    }
    assert [len(each.workItemFilters.orchestrations) for each in others] == [0, 0]


def test_an_app_of_threads_has_one_stream_also_for_http() -> None:
    (request,) = make_work_requests(build_registry(flow, in_thread), CONFIG)
    assert len(request.workItemFilters.activities) == 2


@pytest.mark.parametrize(
    ("match", "failure", "versions"),
    [("strict", "block", ["2.0"]), ("strict", "fail", []), ("current_or_older", "block", []), ("none", "block", [])],
)
def test_only_a_strict_policy_can_be_told(match: Any, failure: Any, versions: list[str]) -> None:
    config = Config(default_version="2.0", version_match=match, version_failure=failure)
    (request,) = make_work_requests(build_registry(flow), config)
    assert list(request.workItemFilters.orchestrations[0].versions) == versions
