"""What is whole in a damaged file is found wherever in it it is, and what is lost is named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.model import events as ev
from durablecli.model.codec import crc_seed, encode_record
from durablecli.store.check.salvage import SalvagedHistory, salvage_history

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
EVENTS: list[ev.AnyEvent] = [ev.ExecutionStarted("a", "1", "f"), *(ev.EventRaised(f"E{n}") for n in range(2, 8))]
LINES = [encode_record(ev.Record(n, AT, event), crc_seed("a", "1")) for n, event in enumerate(EVENTS, 1)]


def salvage_lines(lines: list[bytes]) -> SalvagedHistory:
    salvaged = salvage_history(b"".join(line + b"\n" for line in lines))
    assert salvaged is not None
    return salvaged


@pytest.mark.parametrize(
    "lines",
    [
        [*LINES, LINES[3]],
        [LINES[0], LINES[0], *LINES[1:]],
        [LINES[1], LINES[0], *reversed(LINES[2:])],
        [b"\xef\xbb\xbf" + LINES[0], *(line + b"\r" for line in LINES[1:])],
    ],
    ids=["twice", "first twice", "another order", "an editor's marks"],
)
def test_what_is_there_twice_or_out_of_order_is_no_loss(lines: list[bytes]) -> None:
    assert (salvage_lines(lines).lines, salvage_lines(lines).is_complete) == (LINES, True)


def test_what_is_lost_is_named_and_the_rest_is_kept() -> None:
    salvaged = salvage_lines([*LINES[:2], b"rubbish", LINES[3], LINES[4].replace(b"E5", b"E6"), *LINES[5:]])
    assert (salvaged.last, salvaged.lost, salvaged.unread_lines) == (2, [3, 5], 0)
    assert [record.n for record in salvaged.records_after_gap()] == [4, 6, 7]


@pytest.mark.parametrize("end", [LINES[6][:-3], bytes(200), b"rubbish"])
def test_what_can_not_be_read_at_the_end_may_have_been_a_record(end: bytes) -> None:
    salvaged = salvage_lines([*LINES[:6], end])
    assert (salvaged.last, salvaged.lost, salvaged.unread_lines, salvaged.is_complete) == (6, [], 1, False)


def test_lines_of_another_history_are_no_records_of_this_one() -> None:
    other = encode_record(ev.Record(3, AT, ev.EventRaised("E3")), crc_seed("b", "1"))
    assert salvage_lines([*LINES[:2], other, *LINES[3:]]).lost == [3]


def test_without_the_first_record_the_others_mean_nothing() -> None:
    assert salvage_history(b"".join(line + b"\n" for line in LINES[1:])) is None
    assert salvage_history(b"") is None
