"""Requests that wait, applied to what is recorded: the status that a reader sees."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.inbox.pending_messages import PredictedStatus, pending_items_for, predict_status

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def outlook_after(recorded: str | None, *posted: tuple[str, dict[str, object]]) -> PredictedStatus:
    """How instance `t` looks after these messages."""
    messages = [
        Message(f"m-{number}", number, AT, kind, [MessageItem("other"), MessageItem("t", **fields)])  # type: ignore[arg-type]
        for number, (kind, fields) in enumerate(posted, 1)
    ]
    return predict_status(recorded, pending_items_for("t", messages))


START: tuple[str, dict[str, object]] = ("start", {"name": "f"})
FAIL: tuple[str, dict[str, object]] = ("start", {"name": "f", "if_exists": "fail"})
SKIP: tuple[str, dict[str, object]] = ("start", {"name": "f", "if_exists": "skip"})
REPLACE: tuple[str, dict[str, object]] = ("start", {"name": "f", "if_exists": "replace"})
TERMINATE: tuple[str, dict[str, object]] = ("terminate", {})
SUSPEND: tuple[str, dict[str, object]] = ("suspend", {})
RESUME: tuple[str, dict[str, object]] = ("resume", {})
REWIND: tuple[str, dict[str, object]] = ("rewind", {})
PURGE: tuple[str, dict[str, object]] = ("purge", {})
FORCE: tuple[str, dict[str, object]] = ("purge", {"force": True})
EVENT: tuple[str, dict[str, object]] = ("raise-event", {"name": "go"})
RESTART: tuple[str, dict[str, object]] = ("restart", {})


@pytest.mark.parametrize(
    ("recorded", "posted", "status", "starts", "requested"),
    [
        (None, [], None, False, ()),
        (None, [EVENT], None, False, ()),
        (None, [START], "Pending", True, ()),
        (None, [START, EVENT, SUSPEND], "Pending", True, ("raise-event", "suspend")),
        ("Completed", [EVENT], "Completed", False, ("raise-event",)),
        ("Completed", [START], "Pending", True, ()),
        ("Completed", [FAIL], "Completed", False, ()),
        ("Completed", [SKIP], "Completed", False, ()),
        ("Completed", [REPLACE, EVENT], "Pending", True, ("raise-event",)),
        ("Running", [START], "Running", False, ()),
        ("Running", [EVENT, REPLACE, EVENT], "Pending", True, ("raise-event",)),
        ("Running", [REPLACE, REPLACE], "Pending", True, ()),
        ("Running", [TERMINATE, START], "Pending", True, ()),
        ("Running", [TERMINATE, FAIL], "Running", False, ("terminate",)),
        ("Running", [TERMINATE, PURGE], None, False, ()),
        ("Running", [TERMINATE, PURGE, FAIL], "Pending", True, ()),
        ("Running", [PURGE], "Running", False, ()),
        ("Running", [FORCE], None, False, ()),
        ("Completed", [PURGE], None, False, ()),
        ("Completed", [PURGE, START], "Pending", True, ()),
        ("Completed", [START, PURGE], "Pending", True, ()),
        ("Failed", [REWIND], "Running", False, ("rewind",)),
        ("Failed", [REWIND, START], "Running", False, ("rewind",)),
        ("Failed", [REWIND, TERMINATE, START], "Pending", True, ()),
        ("Failed", [REWIND, PURGE], "Running", False, ("rewind",)),
        ("Failed", [START, REWIND], "Pending", True, ("rewind",)),
        ("Completed", [REWIND], "Completed", False, ("rewind",)),
        ("Running", [SUSPEND], "Suspended", False, ("suspend",)),
        ("Running", [SUSPEND, RESUME], "Running", False, ("suspend", "resume")),
        ("Suspended", [RESUME], "Running", False, ("resume",)),
        ("Suspended", [EVENT], "Suspended", False, ("raise-event",)),
        ("Completed", [RESTART], "Pending", True, ()),
        ("Running", [RESTART], "Running", False, ()),
        (None, [RESTART], None, False, ()),
    ],
)
def test_a_reader_sees_what_was_posted(
    recorded: str | None,
    posted: list[tuple[str, dict[str, object]]],
    status: str | None,
    starts: bool,
    requested: tuple[str, ...],
) -> None:
    found = outlook_after(recorded, *posted)
    assert (found.status, found.start is not None) == (status, starts)
    assert found.pending_kinds == requested


def test_the_last_of_two_starts_counts() -> None:
    found = outlook_after("Completed", START, ("start", {"name": "g", "if_exists": "replace"}))
    assert found.start is not None
    assert found.start.item.name == "g"


def test_a_terminated_instance_will_have_ended_and_is_not_called_so_before() -> None:
    found = outlook_after("Running", TERMINATE)
    assert (found.status, found.will_end, found.has_ended) == ("Running", True, True)
    assert not outlook_after("Running", TERMINATE, REPLACE).has_ended
    assert not outlook_after("Completed", TERMINATE).will_end
