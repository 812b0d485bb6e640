"""Recovery: whatever is left after a crash, and after a crash during recovery, the hub opens whole.

The mutants leave one rule out each, as a program would that forgot it: the explorer must notice, else
it proves nothing.
"""

from __future__ import annotations

import re
import sys

import pytest

from durablecli.errors import DamagedHub
from durablecli.model import codec
from durablecli.store import json_lines
from durablecli.store.history import file
from durablecli.store.journal import commits
from tests.support.crash_explorer import CrashExplorer, Skip

SEGMENT = re.compile(r"hub/journal/\d{8}\.jsonl")


@pytest.mark.parametrize("number", range(2))
def test_no_crash_state_loses_what_was_acknowledged_or_shows_what_was_not_submitted(number: int) -> None:
    explorer = CrashExplorer(number, crashes_per_operation=10)
    explorer.run()
    assert explorer.states_tried > 1300
    assert explorer.crashes_in_recovery > explorer.states_tried


SPILL_OVER = 300
"""About a third of the records that the explorer writes are longer."""


@pytest.mark.parametrize("number", [1])
def test_no_crash_state_loses_a_spilled_record_or_leaves_a_superfluous_file(number: int) -> None:
    explorer = CrashExplorer(number, crashes_per_operation=4, spill_over=SPILL_OVER)
    explorer.run()
    assert explorer.states_tried > 700


@pytest.mark.soak
@pytest.mark.parametrize("number", range(100, 400))
def test_no_crash_state_of_many_does(number: int) -> None:
    CrashExplorer(number, crashes_per_operation=60).run(cycles=12)
    CrashExplorer(number, crashes_per_operation=60, spill_over=SPILL_OVER).run(cycles=12)


def without_crc(line: bytes, start: int = 0) -> bytes:
    if not line.endswith(b'"}'):
        raise codec.CorruptLine("the line doesn't end in a crc")
    return line[: -len(',"crc":"01234567"}')]


MUTANTS: dict[str, Skip] = {
    "R1: the journal isn't synced": lambda operation, path: operation == "sync" and SEGMENT.fullmatch(path) is not None,
    "R3: what is bad behind the good lines isn't cut": lambda operation, path: operation == "truncate",
    "R7: a new segment's folder isn't synced": lambda operation, path: (
        operation == "sync_folder" and path == "hub/journal"
    ),
    "R7: the hub's own folder isn't synced": lambda operation, path: (
        operation == "sync_folder" and path in ("hub", ".")
    ),
    "R8: what replaces a file isn't synced": lambda operation, path: (
        operation == "sync" and path in ("hub/journal/checkpoint.tmp", "hub/hub.json.tmp")
    ),
    "R9: the copy of the tail isn't synced": lambda operation, path: (
        operation == "sync" and path.endswith(".jsonl.tmp") and "/journal/" in path
    ),
    "R12: histories aren't synced before a segment goes": lambda operation, path: (
        operation == "sync" and ("/instances/" in path or "/entities/" in path)
    ),
    "R12: the logs of entities aren't": lambda operation, path: operation == "sync" and "/entities/" in path,
    "R12: the folders of histories aren't": lambda operation, path: operation == "sync_folder" and "/instances" in path,
    "R12: the folders of logs aren't": lambda operation, path: operation == "sync_folder" and "/entities" in path,
    "R16: a message isn't synced": lambda operation, path: operation == "sync" and "/inbox/" in path,
    "R16: the folder of messages isn't": lambda operation, path: (
        operation == "sync_folder" and path.endswith("/inbox/new")
    ),
}


SPILL_MUTANTS: dict[str, Skip] = {
    "R1: a spilled record isn't synced": lambda operation, path: operation == "sync" and path.endswith(".json.tmp"),
    "R7: the folder of an instance's spilled records isn't synced": lambda operation, path: (
        operation == "sync_folder" and re.fullmatch(r"hub/payloads/\w\w/.*", path) is not None
    ),
    "R7: the folders above it aren't": lambda operation, path: (
        operation == "sync_folder" and re.fullmatch(r"hub/payloads(/\w\w)?", path) is not None
    ),
}


def explore_until_it_fails(skip: Skip, spill_over: int = sys.maxsize) -> None:
    for number in range(20):
        CrashExplorer(number, crashes_per_operation=3, skip=skip, spill_over=spill_over).run()


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_explorer_detects_each_omitted_rule(rule: str) -> None:
    with pytest.raises((AssertionError, DamagedHub)):
        explore_until_it_fails(MUTANTS[rule])


@pytest.mark.parametrize("rule", SPILL_MUTANTS)
def test_the_explorer_detects_each_omitted_rule_of_spilled_records(rule: str) -> None:
    with pytest.raises((AssertionError, DamagedHub, codec.CorruptLine)):
        explore_until_it_fails(SPILL_MUTANTS[rule], SPILL_OVER)


def test_the_explorer_notices_when_the_crc_isnt_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (codec, commits, file, json_lines):
        monkeypatch.setattr(module, "verify_crc", without_crc)
    with pytest.raises((AssertionError, DamagedHub, codec.CorruptLine)):
        explore_until_it_fails(lambda operation, path: False)
