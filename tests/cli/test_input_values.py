"""Values on the command line: files as editors on Windows write them, and nesting up to the limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.cli.input_values import read_batch, read_value
from durablecli.errors import UsageError
from tests.cli.conftest import RunDurable

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("a.json", MARK + b'{"a": 1}\r\n', b'{"a":1}'),
        ("a.yaml", MARK + b"a: 1\r\nb: [2]\r\n", b'{"a":1,"b":[2]}'),
        ("a.yml", MARK + b'"\xef\xbb\xbf in a text"', '"\ufeff in a text"'.encode()),
        ("a.json", b'"\xef\xbb\xbf in a text"', '"\ufeff in a text"'.encode()),
    ],
)
def test_a_byte_order_mark_in_a_file_is_ignored(work_folder: Path, name: str, text: bytes, value: bytes) -> None:
    (work_folder / name).write_bytes(text)
    assert bytes(read_value(f"@{name}")) == value


def test_a_byte_order_mark_in_an_argument_is_ignored(work_folder: Path) -> None:
    assert bytes(read_value('\ufeff{"a": 1}')) == b'{"a":1}'


def test_a_byte_order_mark_on_standard_input_is_ignored(work_folder: Path, durable: RunDurable) -> None:
    assert durable("start", "tour", "--id", "a", "--input", "-", "--anyway", stdin=MARK + b"[1]\r\n").exit_code == 0
    (message,) = (work_folder / ".state" / "inbox" / "new").iterdir()
    assert b'"input":[1]' in message.read_bytes()


def test_a_byte_order_mark_in_a_batch_is_ignored(work_folder: Path) -> None:
    (work_folder / "a.jsonl").write_bytes(MARK + b'\r\n{"a": 1}\r\n' + MARK + b'{"a": 2}\r\n')
    assert [bytes(value) for value in read_batch("a.jsonl").values()] == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_by_name(work_folder: Path, encoding: str) -> None:
    (work_folder / "a.json").write_bytes("\ufeff{}".encode(encoding))
    with pytest.raises(UsageError, match="encoded as UTF-16 or UTF-32; save it as UTF-8"):
        read_value("@a.json")


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_nesting_up_to_the_limit_is_accepted(work_folder: Path, durable: RunDurable, name: str) -> None:
    (work_folder / name).write_bytes(b"[" * 200 + b"]" * 200)
    assert read_value(f"@{name}") == Raw(b"[" * 200 + b"]" * 200)
    assert durable("start", "tour", "--id", "a", "--input", f"@{name}", "--anyway").exit_code == 0
    for form in ("json", "yaml", "table"):
        assert durable("status", "a", "-o", form).exit_code == 0, form
        assert durable("status", "a", "-o", form, terminal=True).exit_code == 0, form
