"""A stub says where its record is, and nothing else passes for one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.codec import CorruptLine, append_crc, crc_seed, decode_record, encode_record, verify_crc
from durablecli.model.spilled_line import is_stub, make_stub, matches_content, parse_stub

AT = datetime(2026, 11, 22, 9, 0, 0, 101, tzinfo=UTC)
SEED = crc_seed("tour-7", "2a")
LINE = encode_record(ev.Record(3, AT, ev.TaskCompleted(2, Raw(b'"%b"' % (b"x" * 1000)))), SEED)
STUB = make_stub(LINE, "tour-7", "2a", 68, SEED)


def test_a_stub_has_number_time_type_and_crc_of_its_own() -> None:
    assert is_stub(STUB.line)
    verify_crc(STUB.line, SEED)
    assert STUB.line.startswith(b'{"n":3,"at":"2026-11-22T09:00:00.000101Z","spilled":{"sha256":"')
    assert b',"type":"TaskCompleted","instance":"tour-7","execution":"2a","crc":"' in STUB.line
    assert parse_stub(STUB.line) == STUB.record
    assert (STUB.record.n, STUB.record.spilled.commit) == (3, 68)


def test_only_the_line_itself_matches_its_stub() -> None:
    data = LINE + b"\n"
    assert matches_content(data, STUB.record.spilled)
    assert not matches_content(data[:-2] + b"x\n", STUB.record.spilled)
    assert not matches_content(data + b"\n", STUB.record.spilled)


def test_a_stub_is_no_record() -> None:
    with pytest.raises(CorruptLine, match="n, at and type"):
        decode_record(STUB.line, SEED)


@pytest.mark.parametrize("n", [1, 9, 10, 99_999, 1_000_000_000])
def test_a_payload_that_looks_like_a_stub_is_none(n: int) -> None:
    looks = Raw(b'{"at":"2026-11-22T09:00:00.000101Z","spilled":{"sha256":"x"}}')
    line = encode_record(ev.Record(n, AT, ev.EventRaised('Z","spilled":', looks)), SEED)
    assert not is_stub(line)
    assert decode_record(line, SEED).n == n
    stub = make_stub(line, "i", "2a", 1, SEED)
    assert is_stub(stub.line)
    assert parse_stub(stub.line).n == n


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"sha256":"', b'"sha256":"../'),
        (b'"sha256":"', b'"sha256":"A'),
        (b'"execution":"2a"', b'"execution":"../../etc"'),
        (b'"execution":"2a"', b'"execution":"2a\\n"'),
        (b'"execution":"2a"', b'"execution":""'),
        (b'"commit":68', b'"commit":-1'),
        (b'"commit":68', b'"commit":"../68"'),
        (b'"bytes":', b'"bytes":-'),
        (b'{"n":3', b'{"n":0'),
        (b'"instance":"tour-7"', b'"instance":7'),
        (b'"spilled":{', b'"spilled":[{'),
    ],
)
def test_a_stub_whose_fields_could_name_another_path_is_rejected(old: bytes, new: bytes) -> None:
    forged = append_crc(STUB.line[: -len(',"crc":"01234567"}')].replace(old, new), SEED)
    with pytest.raises(CorruptLine, match="can't be read"):
        parse_stub(forged)
