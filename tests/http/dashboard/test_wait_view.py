"""The waits of an instance in words: equal ones are shown together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durablecli.client import ActivityWait, DurableOrchestrationStatus
from durablecli.http.dashboard.wait_view import count_waits, describe_waits
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_equal_waits_are_one() -> None:
    waits = [
        ActivityWait("activity", n, "square", NOW - timedelta(seconds=n), state=state, state_since=NOW)
        for n, state in enumerate(["running"] * 2 + ["queued"] * 900, 1)
    ]
    status = DurableOrchestrationStatus(instance_id="a", waiting_for=(*waits, PendingWait("event", 9999, "Go", NOW)))
    found = describe_waits(status, NOW)
    assert [(wait.kind, wait.name, wait.count) for wait in found] == [
        ("activity", "square", 1),
        ("activity", "square", 1),
        ("activity", "square", 900),
        ("event", "Go", 1),
    ]
    assert found[2].detail == "queued for 0 ms, the longest of them"
    assert count_waits(status) == 903


def test_a_wait_with_progress_or_a_name_of_its_own_is_described_by_itself() -> None:
    progress = ReportedProgress(1, NOW, 3)
    waits = [
        PendingWait("activity", n, "bill", NOW, label=f"invoice {n}", progress=progress if n > 3 else None)
        for n in range(1, 8)
    ]
    found = describe_waits(DurableOrchestrationStatus(instance_id="a", waiting_for=tuple(waits)), NOW)
    assert [wait.name for wait in found] == [f"invoice {n}" for n in range(1, 8)]
    assert found[-1].progress == progress


def test_a_wait_says_when_it_is_due() -> None:
    timer = PendingWait("timer", 1, None, NOW, fire_at=NOW + timedelta(hours=3))
    late = PendingWait("timer", 2, None, NOW, fire_at=NOW - timedelta(seconds=3))
    found = describe_waits(DurableOrchestrationStatus(instance_id="a", waiting_for=(timer, late)), NOW)
    assert [wait.detail for wait in found] == ["due in 3 h", "due for 3 s"]
