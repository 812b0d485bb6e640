"""Versions of orchestrations, version strategies of workers, and filters, with the Python SDK.

Each test has workers of its own, and functions with names of their own where a filter must not see another test's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from durabletask import task
from durabletask.client import OrchestrationStatus
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.worker import (
    ActivityWorkItemFilter,
    ConcurrencyOptions,
    EntityWorkItemFilter,
    OrchestrationWorkItemFilter,
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
    WorkItemFilters,
)

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key


def orchestrate_version(context: Context, _: Any) -> str | None:
    return context.version


def parent_of_version(context: Context, version: str | None) -> Turns:
    return [context.version, (yield context.call_sub_orchestrator(orchestrate_version, version=version))]


def make_activity(name: str, answer: str) -> Callable[..., Any]:
    def activity(_: task.ActivityContext, __: Any) -> str:
        return answer

    activity.__name__ = name
    return activity


def make_orchestrator(name: str, answer: str) -> Callable[..., Any]:
    def orchestrator(context: Context, activities: list[str]) -> Turns:
        found = [answer]
        for activity in activities or []:
            found.append((yield context.call_activity(activity)))
        return found

    orchestrator.__name__ = name
    return orchestrator


def strategy(
    version: str,
    match: VersionMatchStrategy = VersionMatchStrategy.STRICT,
    failure: VersionFailureStrategy = VersionFailureStrategy.REJECT,
    default: str | None = None,
) -> VersioningOptions:
    return VersioningOptions(version, default or version, match, failure)


def test_an_instance_has_a_version(hub: SdkHub) -> None:
    with hub.worker(orchestrate_version, parent_of_version):
        assert hub.run(orchestrate_version, version="1.2.0") == "1.2.0"
        assert hub.run(orchestrate_version) in (None, "")
        assert hub.run(parent_of_version, "3.0", version="1.0") == ["1.0", "3.0"]


def test_a_child_has_the_default_version_of_the_worker(hub: SdkHub) -> None:
    versioning = strategy("9.0", VersionMatchStrategy.CURRENT_OR_OLDER, default="1.1.0")
    with hub.worker(orchestrate_version, parent_of_version, versioning=versioning):
        assert hub.run(parent_of_version, version="1.0.0") == ["1.0.0", "1.1.0"]


def test_another_version_fails_where_the_worker_says_so(hub: SdkHub) -> None:
    with hub.worker(orchestrate_version, versioning=strategy("1.0.0", failure=VersionFailureStrategy.FAIL)):
        assert hub.run(orchestrate_version, version="1.0.0") == "1.0.0"
        state = hub.wait(hub.start(orchestrate_version, version="2.0.0"))
        assert state.runtime_status is OrchestrationStatus.FAILED
        assert state.failure_details is not None
        assert state.failure_details.error_type == "VersionMismatch"
        assert "2.0.0" in state.failure_details.message


def test_older_versions_may_be_taken(hub: SdkHub) -> None:
    fail = VersionFailureStrategy.FAIL
    with hub.worker(orchestrate_version, versioning=strategy("1.5.0", VersionMatchStrategy.CURRENT_OR_OLDER, fail)):
        for version in ("1.5.0", "1.4.9", "0.9"):
            assert hub.run(orchestrate_version, version=version) == version
        state = hub.wait(hub.start(orchestrate_version, version="1.10.0"))
        assert state.runtime_status is OrchestrationStatus.FAILED


def test_a_version_that_is_rejected_goes_to_another_worker(hub: SdkHub) -> None:
    with (
        hub.worker(orchestrate_version, versioning=strategy("1.0.0")),
        hub.worker(orchestrate_version, versioning=strategy("2.0.0")),
    ):
        instances = {hub.start(orchestrate_version, version=version): version for version in ["1.0.0", "2.0.0"] * 4}
        assert {each: hub.wait(each).get_output() for each in instances} == instances


@daemon_only
def test_a_rejected_version_waits_for_its_worker(hub: SdkHub) -> None:
    with hub.worker(orchestrate_version, versioning=strategy("1.0.0")):
        instance = hub.start(orchestrate_version, version="2.0.0")
        assert hub.run(orchestrate_version, version="1.0.0") == "1.0.0"
        assert hub.state(instance).runtime_status is OrchestrationStatus.PENDING
    with hub.worker(orchestrate_version, versioning=strategy("2.0.0")):
        assert hub.wait(instance).get_output() == "2.0.0"


def test_each_worker_gets_what_it_has_registered(hub: SdkHub) -> None:
    one, other, left, right = (f"{name}_{new_key()}" for name in ("one", "other", "left", "right"))
    with (
        hub.worker(make_orchestrator(one, "1"), make_activity(left, "l"), filters=True),
        hub.worker(make_orchestrator(other, "2"), make_activity(right, "r"), filters=True),
    ):
        for _ in range(3):
            assert hub.run(one, [left, right, left]) == ["1", "l", "r", "l"]
            assert hub.run(other, [right, left]) == ["2", "r", "l"]


def test_work_waits_for_a_worker_that_runs_it(hub: SdkHub) -> None:
    one, other = f"one_{new_key()}", f"other_{new_key()}"
    with hub.worker(make_orchestrator(one, "1"), filters=True):
        waiting = hub.start(other, [])
        assert hub.run(one, []) == ["1"]
        assert hub.state(waiting).runtime_status is OrchestrationStatus.PENDING
        with hub.worker(make_orchestrator(other, "2"), filters=True):
            assert hub.wait(waiting).get_output() == ["2"]


@daemon_only
def test_filters_with_versions(hub: SdkHub) -> None:
    name = f"one_{new_key()}"

    def filters(*versions: str) -> WorkItemFilters:
        return WorkItemFilters([OrchestrationWorkItemFilter(name, list(versions))])

    with (
        hub.worker(make_orchestrator(name, "old"), filters=filters("1.0", "1.1")),
        hub.worker(make_orchestrator(name, "new"), filters=filters("2.0")),
    ):
        for version, answer in (("1.0", "old"), ("2.0", "new"), ("1.1", "old"), ("2.0", "new")):
            assert hub.run(name, [], version=version) == [answer]
        unmatched = hub.start(name, [], version="3.0")
        assert hub.run(name, [], version="1.0") == ["old"]
        assert hub.state(unmatched).runtime_status is OrchestrationStatus.PENDING
    hub.client.terminate_orchestration(unmatched)


@daemon_only
def test_an_activity_has_the_version_of_its_orchestration_for_filters(hub: SdkHub) -> None:
    name, activity = f"one_{new_key()}", f"left_{new_key()}"

    def filters(version: str) -> WorkItemFilters:
        return WorkItemFilters([], [ActivityWorkItemFilter(activity, [version])])

    with (
        hub.worker(make_orchestrator(name, "1"), filters=WorkItemFilters([OrchestrationWorkItemFilter(name)])),
        hub.worker(make_activity(activity, "old"), filters=filters("1.0")),
        hub.worker(make_activity(activity, "new"), filters=filters("2.0")),
    ):
        for version, answer in (("1.0", "old"), ("2.0", "new"), ("1.0", "old")):
            assert hub.run(name, [activity], version=version) == ["1", answer]


class FilteredCounter(DurableEntity):
    """A number in a worker that runs nothing else."""

    def add(self, value: int) -> int:
        self.set_state(self.get_state(int, 0) + value)
        return self.get_state(int, 0)


def test_filters_of_entities_ignore_case(hub: SdkHub) -> None:
    entity = EntityInstanceId("FILTEREDCOUNTER", new_key())
    nothing_else = WorkItemFilters([], [], [EntityWorkItemFilter("FilteredCounter")])
    name = f"one_{new_key()}"
    with (
        hub.worker(make_orchestrator(name, "1"), filters=True),
        hub.worker(FilteredCounter, filters=nothing_else),
    ):
        hub.client.signal_entity(entity, "add", 2)
        assert hub.run(name, []) == ["1"]
        hub.wait_for_entity_state(entity, 2)


def test_a_worker_that_lists_nothing_gets_nothing(hub: SdkHub) -> None:
    name = f"one_{new_key()}"
    with hub.worker(make_orchestrator(name, "nobody"), filters=WorkItemFilters()):
        instance = hub.start(name, [])
        with hub.worker(make_orchestrator(name, "somebody"), filters=True):
            assert hub.wait(instance).get_output() == ["somebody"]


@daemon_only
def test_work_is_shared_between_workers(hub: SdkHub) -> None:
    """Of two workers that run the same functions, both work when one can't take all."""
    name, activity = f"one_{new_key()}", f"meet_{new_key()}"
    meeting = threading.Barrier(2, timeout=15)

    def meet(_: task.ActivityContext, __: Any) -> str:
        meeting.wait()
        return "met"

    meet.__name__ = activity

    def orchestrator(context: Context, _: Any) -> Turns:
        return (yield task.when_all([context.call_activity(activity), context.call_activity(activity)]))

    orchestrator.__name__ = name
    single = ConcurrencyOptions(1, 1, 1, 4)
    with (
        hub.worker(orchestrator, meet, filters=True, concurrency_options=single),
        hub.worker(orchestrator, meet, filters=True, concurrency_options=single),
    ):
        assert hub.run(name) == ["met", "met"]
