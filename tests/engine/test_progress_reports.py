"""What orchestrators report of their progress: published with the turn, and forgotten with the execution."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import durablecli as df
from durablecli import testing
from durablecli.engine.progress_reports import ProgressReports
from durablecli.model.reported_progress import ReportedProgress

Steps = Generator[Any, Any, Any]
AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


@df.orchestrator
def counts(context: df.DurableOrchestrationContext) -> Steps:
    for n in range(3):
        context.progress(n, 3)
        yield context.wait_for_external_event("go")


@df.orchestrator
def begins_again(context: df.DurableOrchestrationContext) -> Steps:
    if context.get_input() == 1:
        context.progress(1)
    yield context.wait_for_external_event("go")
    context.continue_as_new(2)


@df.orchestrator
def silent(context: df.DurableOrchestrationContext) -> Steps:
    yield context.wait_for_external_event("go")


def read_reports(hub: testing.TestEnvironment) -> dict[str, float]:
    reports: ProgressReports = hub.engine._committer._progress
    return {instance: report.done for instance, _, report in reports.latest(100)}


def test_the_last_report_of_each_turn_is_shown_until_the_execution_ends() -> None:
    with testing.hub(counts, silent) as hub:
        hub.client.start_new(counts, "a")
        hub.client.start_new(silent, "s")
        hub.run()
        assert read_reports(hub) == {"a": 0}
        hub.client.raise_event("a", "go")
        hub.run()
        assert read_reports(hub) == {"a": 1}
        hub.client.start_new(counts, "b")
        hub.run()
        assert list(read_reports(hub)) == ["b", "a"]  # the latest first
        hub.client.terminate("b")
        for _ in range(2):
            hub.client.raise_event("a", "go")
        hub.run()
        assert read_reports(hub) == {}


def test_a_replay_reports_nothing_and_the_next_turn_does() -> None:
    with testing.hub(counts) as hub:
        hub.client.start_new(counts, "a")
        hub.run()
        hub.restart()
        hub.run()
        assert read_reports(hub) == {}
        hub.client.raise_event("a", "go")
        hub.run()
        assert read_reports(hub) == {"a": 1}


def test_the_next_execution_of_an_instance_begins_without_a_report() -> None:
    with testing.hub(begins_again) as hub:
        hub.client.start_new(begins_again, "a", 1)
        hub.run()
        assert read_reports(hub) == {"a": 1}
        hub.client.raise_event("a", "go")
        hub.run()
        assert read_reports(hub) == {}
        assert not hub.client.get_status("a").ended


def test_an_old_execution_that_ends_does_not_take_the_report_of_the_new_one() -> None:
    reports = ProgressReports()
    assert not reports
    reports.update({"a": ("1", ReportedProgress(1, AT)), "b": ("1", ReportedProgress(2, AT))})
    reports.update({"a": ("2", ReportedProgress(3, AT))})
    reports.forget([("a", "1"), ("nobody", "1")])
    assert [(instance, execution) for instance, execution, _ in reports.latest(10)] == [("a", "2"), ("b", "1")]
    assert [instance for instance, _, _ in reports.latest(1)] == ["a"]
