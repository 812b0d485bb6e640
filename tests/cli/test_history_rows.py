"""Records as rows of a history: failures, retries, long payloads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from durablecli.cli.history_rows import HistoryFormatter
from durablecli.model import events as ev
from durablecli.model.failures import Failure

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (Failure("builtins.KeyError", "'user'"), "of 2: KeyError: 'user'"),
        (Failure("builtins.ValueError", ""), "of 2: ValueError"),
        (Failure("app.Refused", "x" * 60_000), f"of 2: app.Refused: {'x' * 2_000}… (60,000 characters)"),
    ],
)
def test_a_failure_shows_its_type_and_the_beginning_of_its_text(failure: Failure, text: str) -> None:
    assert format_details(ev.TaskFailed(2, failure)) == [text]


def test_a_retry_names_the_attempt_the_total_and_the_call() -> None:
    failure = Failure("builtins.ValueError", "no")
    due = datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC)
    assert format_details(
        ev.TaskScheduled("send", Raw(b"7")),
        ev.TaskFailed(1, failure),
        ev.TimerCreated(due, retry_of=1, attempts=5),
        ev.TimerFired(3),
        ev.TaskScheduled("send", Raw(b"7"), attempt=2, retry_of=1),
        ev.TaskFailed(5, failure),
        ev.TimerCreated(due, retry_of=1, attempts=5),
        ev.TaskScheduled("send", Raw(b"7"), attempt=3, retry_of=1),
    ) == [
        "send(7)",
        "of 1: ValueError: no",
        "due 2026-11-22 09:00:01.000, for attempt 2 of 5 of send",
        "of 3",
        "send(7), attempt 2 of 5",
        "of 5: ValueError: no",
        "due 2026-11-22 09:00:01.000, for attempt 3 of 5 of send",
        "send(7), attempt 3 of 5",
    ]


def test_a_history_without_the_number_of_attempts_names_only_the_attempt() -> None:
    *_, timer, again = format_details(
        ev.SubOrchestrationInstanceCreated("child", "p:1:1"),
        ev.SubOrchestrationInstanceFailed(1, Failure("builtins.ValueError", "no")),
        ev.TimerCreated(AT, retry_of=1),
        ev.SubOrchestrationInstanceCreated("child", "p:1:4", attempt=2, retry_of=1),
    )
    assert timer == "due 2026-11-22 09:00:00.000, for attempt 2 of child"
    assert again == "child(null) as p:1:4, attempt 2"


def test_long_payloads_are_cut_unless_all_is_wanted() -> None:
    record = ev.Record(2, AT, ev.TaskScheduled("send", Raw(b'"' + b"x" * 500 + b'"')))
    formatter = HistoryFormatter(AT)
    assert formatter.format(record)[-1] == f'send("{"x" * 199}… (502 bytes))'
    assert formatter.was_cut
    whole = HistoryFormatter(AT, full=True)
    assert whole.format(record)[-1] == f'send("{"x" * 500}")'
    assert not whole.was_cut


def format_details(*events: ev.AnyEvent) -> list[str]:
    formatter = HistoryFormatter(AT)
    return [formatter.format(ev.Record(n, AT, event))[-1] for n, event in enumerate(events, 1)]


def test_a_rewind_has_a_reason_only_if_one_was_given() -> None:
    assert format_details(ev.ExecutionRewound(19), ev.ExecutionRewound(19, "mended"), ev.ExecutionRewound(0)) == [
        "from 19",
        "from 19: mended",
        "",
    ]


def test_what_workers_add_to_records_is_shown() -> None:
    assert format_details(
        ev.ExecutionStarted("i", "1", "Order", Raw(b"1"), held=True),
        ev.OrchestratorStarted(1, AT),
        ev.TaskScheduled("ship", Raw(b"2"), id=0, version="2", tags={"lane": "fast"}),
        ev.SubOrchestrationInstanceCreated("Bill", "i:1", Raw(b"3"), id=2, tags={"lane": "slow"}),
        ev.TimerCreated(AT, id=3),
        ev.EntityLockRequested(("@cart@a", "@cart@b"), id=4, request="9f"),
        ev.EntityUnlockSent(6, id=5, request="9f", entity="@cart@a"),
        ev.EntityOperationCalled("@cart@a", "add", Raw(b"4"), id=6, request="a0"),
        ev.ContinueAsNew(Raw(b"5"), version="3"),
        ev.ExecutionTerminated("enough\nof it", output=Raw(b"6")),
        ev.ExecutionTerminated(),
    ) == [
        "Order(1)",
        "up to held record 1, on a worker at 2026-11-22 09:00:00.000",
        "ship(2), version 2, lane=fast, action 0",
        "Bill(3) as i:1, lane=slow, action 2",
        "due 2026-11-22 09:00:00.000, action 3",
        "@cart@a, @cart@b, action 4",
        "of 6: @cart@a, action 5",
        "add(4) of @cart@a, action 6",
        "5, version 3",
        "enough; output 6",
        "",
    ]
