"""Answers in chunks."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from durablecli.errors import UsageError
from durablecli.protocol.generated import pb
from durablecli.protocol.turn_answer_chunks import TurnAnswerChunks


def chunk(
    index: int | None, *ids: int, last: bool = False, turn: str = "t", status: str = ""
) -> pb.OrchestratorResponse:
    return pb.OrchestratorResponse(
        instanceId="i",
        completionToken=turn,
        actions=[pb.OrchestratorAction(id=id, scheduleTask=pb.ScheduleTaskAction(name="a" * 100)) for id in ids],
        chunkIndex=None if index is None else Int32Value(value=index),
        isPartial=not last,
        customStatus=StringValue(value=status) if status else None,
    )


def ids(response: pb.OrchestratorResponse | None) -> list[int] | None:
    return None if response is None else [action.id for action in response.actions]


def test_an_answer_in_one_message_is_whole() -> None:
    whole = TurnAnswerChunks().add(chunk(None, 1, 2, last=True))
    assert ids(whole) == [1, 2]


def test_chunks_are_put_together_in_their_order() -> None:
    chunks = TurnAnswerChunks()
    assert chunks.add(chunk(0, 1, 2, status="s")) is None
    assert chunks.add(chunk(0, 7, turn="other")) is None
    assert chunks.add(chunk(1, 3)) is None
    whole = chunks.add(chunk(2, 4, last=True))
    assert ids(whole) == [1, 2, 3, 4]
    assert whole is not None
    assert (whole.customStatus.value, whole.isPartial, whole.HasField("chunkIndex")) == ("s", False, False)
    assert ids(chunks.add(chunk(1, 8, turn="other", last=True))) == [7, 8]


def test_what_was_added_is_not_changed() -> None:
    chunks, first = TurnAnswerChunks(), chunk(0, 1)
    chunks.add(first)
    chunks.add(chunk(1, 2, last=True))
    assert ids(first) == [1]
    assert first.isPartial


def test_chunks_may_come_in_any_order_and_twice() -> None:
    chunks = TurnAnswerChunks()
    assert chunks.add(chunk(2, 5, last=True)) is None
    assert chunks.add(chunk(1, 3)) is None
    assert chunks.add(chunk(1, 4)) is None
    assert ids(chunks.add(chunk(0, 1, 2))) == [1, 2, 4, 5]


def test_a_whole_answer_replaces_chunks() -> None:
    chunks = TurnAnswerChunks()
    chunks.add(chunk(0, 1))
    assert ids(chunks.add(chunk(None, 5, last=True))) == [5]
    assert chunks.add(chunk(1, 2, last=True)) is None


def test_the_chunks_of_two_workers_are_kept_apart() -> None:
    chunks = TurnAnswerChunks()
    chunks.add(chunk(0, 1), "a")
    chunks.add(chunk(0, 5), "b")
    assert ids(chunks.add(chunk(1, 2, last=True), "a")) == [1, 2]
    assert ids(chunks.add(chunk(1, 6, last=True), "b")) == [5, 6]


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(UsageError, match="can't be negative: -1"):
        TurnAnswerChunks().add(chunk(-1, 3))


def test_incomplete_answers_are_limited_together_and_the_oldest_go() -> None:
    chunks = TurnAnswerChunks(max_bytes=1_000)
    for n in range(9):
        chunks.add(chunk(0, n, turn=f"t{n}"))
    assert chunks.add(chunk(1, 1, last=True, turn="t0")) is None
    assert ids(chunks.add(chunk(1, 9, last=True, turn="t8"))) == [8, 9]


def test_one_answer_is_limited_too() -> None:
    chunks = TurnAnswerChunks(max_bytes=1_000)
    chunks.add(chunk(0, *range(8)))
    with pytest.raises(UsageError, match="more than 1,000 bytes"):
        chunks.add(chunk(1, 8, 9))
