"""Payloads in answers that are larger than a record may be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.grpc.answer_sizes import limit_answer
from durablecli.model import events as ev
from durablecli.replay.remote_work import (
    ActivityAnswer,
    ActivityKey,
    Answer,
    EntityBatchAnswer,
    EntityBatchKey,
    OperationAnswer,
    TurnAnswer,
    TurnKey,
)

TURN = TurnKey("i", "1", 1, 1, datetime(2026, 1, 1, tzinfo=UTC))
ENTITY = EntityBatchKey("@e@k", "1", 1)
FITS, TOO_LARGE = Raw(b'"' + b"x" * 98 + b'"'), Raw(b'"' + b"x" * 99 + b'"')


def make_answers(payload: Raw) -> list[Answer]:
    return [
        TurnAnswer(TURN, (ev.TaskScheduled("f", payload),)),
        TurnAnswer(TURN, (ev.ExecutionCompleted("Completed", result=payload),)),
        TurnAnswer(TURN, (), payload),
        TurnAnswer(TURN, (ev.ContinueAsNew(),), None, (ev.EventRaised("e", payload),)),
        EntityBatchAnswer(ENTITY, (), payload),
        EntityBatchAnswer(ENTITY, (OperationAnswer(payload),)),
        EntityBatchAnswer(ENTITY, (), signals=(ev.EntityOperationSignal("@e@k", "op", payload),)),
        EntityBatchAnswer(ENTITY, (), starts=(ev.EntityOperationStart("i", "f", payload),)),
    ]


@pytest.mark.parametrize("number", range(8))
def test_turns_and_operations_with_too_large_a_payload_are_refused(number: int) -> None:
    fits = make_answers(FITS)[number]
    assert limit_answer(fits, 100) is fits
    with pytest.raises(UsageError, match="a payload has 101 bytes, the limit is 100"):
        limit_answer(make_answers(TOO_LARGE)[number], 100)


def test_an_activity_with_too_large_a_result_has_failed() -> None:
    key = ActivityKey("i", "1", 2)
    fits = ActivityAnswer(key, FITS)
    assert limit_answer(fits, 100) is fits
    failed = limit_answer(ActivityAnswer(key, TOO_LARGE), 100)
    assert isinstance(failed, ActivityAnswer)
    assert failed.failure is not None
    assert (failed.failure.retryable, "the limit is 100" in failed.failure.message) == (False, True)
