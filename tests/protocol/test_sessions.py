"""Sessions: what a worker that keeps them is told, and answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.model import events as ev
from durablecli.protocol.completion_token import decode_token
from durablecli.protocol.generated import pb
from durablecli.protocol.turn_answers import read_turn_answer
from durablecli.protocol.work_items import CONTINUES_PROPERTY, SESSION_PROPERTY, make_work_item
from durablecli.replay.remote_work import RemoteTurn, TurnAnswer, TurnKey

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FIRST, SECOND = TurnKey("x", "1", 1, 1, NOW), TurnKey("x", "1", 4, 5, NOW)
STARTED = ev.ExecutionStarted("x", "1", "chain")


@pytest.mark.parametrize(("keeps", "previous"), [(False, None), (True, None), (True, FIRST)])
def test_only_a_worker_that_keeps_sessions_is_told_of_them(keeps: bool, previous: TurnKey | None) -> None:
    turn = RemoteTurn(SECOND, STARTED, (), (), keeps_session=keeps, previous=previous)
    properties = make_work_item(turn).orchestratorRequest.properties
    assert (SESSION_PROPERTY in properties) is keeps
    if previous is None:
        assert CONTINUES_PROPERTY not in properties
    else:
        assert decode_token(properties[CONTINUES_PROPERTY].string_value) == previous


def test_without_the_history_outcomes_still_name_what_they_answer() -> None:
    arrivals = (
        ev.Record(4, NOW, ev.TaskCompleted(2, held=True)),
        ev.Record(5, NOW, ev.EntityOperationCompleted(3, held=True)),
    )
    answered: dict[int, ev.Decision] = {
        2: ev.TaskScheduled("a", id=0),
        3: ev.EntityOperationCalled("@a@b", "get", id=1, request="r"),
    }
    turn = RemoteTurn(SECOND, STARTED, (), arrivals, keeps_session=True, previous=FIRST, answered=answered)
    _, completed, got = make_work_item(turn).orchestratorRequest.newEvents
    assert completed.taskCompleted.taskScheduledId == 0
    assert got.entityOperationCompleted.requestId == "r"


def test_a_worker_may_require_the_history() -> None:
    response = pb.OrchestratorResponse(instanceId="x", requiresHistory=True)
    assert read_turn_answer(response, SECOND) == TurnAnswer(SECOND, (), requires_history=True)
