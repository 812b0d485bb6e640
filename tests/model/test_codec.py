"""A record survives its line, and a line with any other byte than was written is rejected."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.codec import (
    CorruptLine,
    append_crc,
    crc_seed,
    decode_record,
    encode_record,
    format_timestamp,
    verify_crc,
)
from durablecli.model.failures import Failure

AT = datetime(2026, 11, 22, 9, 0, 0, 101, tzinfo=UTC)
START = crc_seed("tour-7", "2a")
ORIGIN = ev.Origin("tour-7", "2a", 13)
FAILURE = Failure("builtins.ConnectionError", "refused", ("builtins.OSError",), "…", Failure("x.Y", ""))

EVENTS: list[ev.AnyEvent] = [
    ev.ExecutionStarted("tour-7", "2a", "hello_tour"),
    ev.ExecutionStarted("fork", "2b", "hello_tour", forked_from=ORIGIN),
    ev.ExecutionStarted("é/#", "2a", "t", Raw(b'{"a":[1]}'), "1.2", ORIGIN, AT, Raw(b'"x"'), "m-9c01", held=True),
    ev.TaskCompleted(2, Raw(b'"Hello"')),
    ev.TaskCompleted(2, held=True),
    ev.TaskFailed(2, FAILURE),
    ev.TimerFired(4),
    ev.EventRaised("Guide", Raw(b'{"who":"K"}'), "m-9c77"),
    ev.EventRaised("Guide", sender=ORIGIN),
    ev.SubOrchestrationInstanceCompleted(13, Raw(b"1.5")),
    ev.SubOrchestrationInstanceFailed(13, FAILURE),
    ev.ExecutionSuspended("audit"),
    ev.ExecutionResumed(),
    ev.ExecutionTerminated("enough", "m-1"),
    ev.ExecutionRewound(16, "mended", (16,), (17, 18), "m-9d02"),
    ev.OrchestratorStarted(12),
    ev.ExecutionBlocked("no such function"),
    ev.ExecutionUnblocked(),
    ev.TaskScheduled("hello", Raw(b'"Tokyo"'), attempt=2, retry_of=2),
    ev.TaskScheduled("hello", timeout=5.5, heartbeat_timeout=1.5, priority=-2),
    ev.TaskCanceled(2),
    ev.TimerCreated(AT, retry_of=2),
    ev.TimerCanceled(10),
    ev.EventAwaited("Guide"),
    ev.EventWaitsChanged(((3, "Guide"), (5, "Go")), {"guide": 2}),
    ev.EventSent("other", "Go", Raw(b"[]"), undelivered=True),
    ev.SubOrchestrationInstanceCreated("child", "tour-7:2a:5", Raw(b"0"), "1.2"),
    ev.SubOrchestrationInstanceCreated("child", "own", explicit=True),
    ev.CustomStatusSet(Raw(b'"waiting"')),
    ev.ContinueAsNew(Raw(b"{}"), save_events=False),
    ev.ExecutionCompleted("Failed", failure=FAILURE, causes=(16,)),
    ev.ExecutionCompleted("Completed", Raw(b"null")),
    ev.EntityOperationCalled("@counter@a", "add", Raw(b"1")),
    ev.EntityOperationSignaled("@counter@é", "add", Raw(b"1"), AT),
    ev.EntityLockRequested(("@account@a", "@account@b")),
    ev.EntityUnlockSent(20),
    ev.EntityOperationCompleted(18, Raw(b"7"), held=True),
    ev.EntityOperationFailed(18, FAILURE),
    ev.EntityLockGranted(20),
    ev.EntityStarted("@counter@a", "2b"),
    ev.EntityOperationReceived("add", Raw(b"1"), ORIGIN, expects_reply=True),
    ev.EntityOperationReceived("add", message="m-9c78", scheduled_time=AT),
    ev.EntityDeletionReceived("m-9c79"),
    ev.EntityLockReceived(("@account@a", "@account@b"), ORIGIN),
    ev.EntityUnlockReceived(("@account@a", "@account@b"), ORIGIN),
    ev.EntityBatch(
        4, Raw(b"7"), results=(ev.EntityOperationResult(2, Raw(b"7")), ev.EntityOperationResult(3, failure=FAILURE))
    ),
    ev.EntityBatch(
        5,
        deleted=True,
        signals=(ev.EntityOperationSignal("@counter@b", "add", Raw(b"1"), AT),),
        starts=(ev.EntityOperationStart("tour-8", "tour", Raw(b"1"), "1.2", undelivered=True),),
    ),
    ev.EntitySnapshot("@counter@a", "2b", 9, AT, AT),
    ev.EntitySnapshot(
        "@counter@a",
        "2b",
        9,
        AT,
        AT,
        Raw(b"7"),
        ev.EntityLock(ORIGIN, ("@counter@a",), AT),
        3,
        ev.EntityOperationFailure("add", AT, FAILURE),
    ),
]


def comparable(event: ev.AnyEvent) -> bytes:
    return msgspec.json.encode(event)


def test_the_table_holds_every_kind() -> None:
    assert {type(event) for event in EVENTS} == set(ev.AnyEvent.__args__)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_record_survives_its_line(event: ev.AnyEvent) -> None:
    back = decode_record(encode_record(ev.Record(3, AT, event), START), START)
    assert (back.n, back.at, type(back.event), comparable(back.event)) == (3, AT, type(event), comparable(event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_line_is_one_json_object_in_one_line(event: ev.AnyEvent) -> None:
    line = encode_record(ev.Record(7, AT, event), START)
    assert b"\n" not in line
    keys = list(msgspec.json.decode(line))
    assert keys[:3] == ["n", "at", "type"]
    assert keys[-1] == "crc"


def test_the_line_reads_as_documented() -> None:
    line = encode_record(ev.Record(2, AT, ev.TaskScheduled("hello", Raw(b'"Tokyo"'))), START)
    head = b'{"n":2,"at":"2026-11-22T09:00:00.000101Z","type":"TaskScheduled","name":"hello","input":"Tokyo","crc":"'
    assert line.startswith(head)


def test_every_flipped_byte_is_refused() -> None:
    line = encode_record(ev.Record(16, AT, ev.TaskFailed(15, FAILURE)), START)
    for position in range(len(line)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            flipped = line[:position] + bytes([line[position] ^ mask]) + line[position + 1 :]
            with pytest.raises(CorruptLine):
                decode_record(flipped, START)


def test_every_cut_of_a_line_is_refused() -> None:
    line = encode_record(ev.Record(1, AT, EVENTS[0]), START)
    for size in range(len(line)):
        with pytest.raises(CorruptLine):
            decode_record(line[:size], START)


@pytest.mark.parametrize("other", [crc_seed("tour-8", "2a"), crc_seed("tour-7", "2b"), crc_seed("tour-72", "a"), 0])
def test_a_line_of_another_instance_or_execution_is_refused(other: int) -> None:
    line = encode_record(ev.Record(1, AT, EVENTS[0]), START)
    with pytest.raises(CorruptLine, match="crc"):
        decode_record(line, other)


@pytest.mark.parametrize("line", [b"", b"\0" * 80, b"{}", b'{"n":1}', b"x" * 200])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(CorruptLine):
        decode_record(line, START)


@pytest.mark.parametrize(
    "body",
    [
        b'{"n":1,"at":"2026-11-22T09:00:00.000101Z","type":"Nonsense"',
        b'{"n":1,"at":"2026-11-22T09:00:00.000101Z","type":"TimerFired"',
        b'{"n":1,"at":"2026-13-22T09:00:00.000101Z","type":"TimerFired","timer":1',
        b'{"n":x,"at":"2026-11-22T09:00:00.000101Z","type":"TimerFired","timer":1',
        b'{"at":"2026-11-22T09:00:00.000101Z","n":1,"type":"TimerFired","timer":1',
    ],
)
def test_a_valid_crc_over_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(CorruptLine):
        decode_record(append_crc(body, START), START)


def test_sealing_can_be_undone() -> None:
    assert verify_crc(append_crc(b'{"a":1')) == b'{"a":1'
    assert verify_crc(append_crc(b'{"a":1', 7), 7) == b'{"a":1'


def test_a_stamp_always_has_microseconds() -> None:
    assert format_timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
