"""Large payloads are kept in files of their own: over a kill, for every command, and until a purge."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from durablecli.limits import MIB
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

APP = "payloads"
TEXT = "x" * (12 * MIB)


def list_files(hub: CliHarness) -> list[Path]:
    return [path for path in hub.root.glob("payloads/**/*") if path.is_file()]


def measure(hub: CliHarness, *patterns: str) -> int:
    return sum(path.stat().st_size for pattern in patterns for path in hub.root.glob(pattern))


def start_large_and_small(hub: CliHarness) -> None:
    (hub.folder / "input.json").write_text(json.dumps(TEXT))
    hub("start", "carries", "--id", "large", "--input", "@input.json")
    hub("start", "carries", "--id", "small", "--input", '"x"')


def test_twelve_mib_survive_a_kill_and_go_with_a_purge(hub: CliHarness) -> None:
    start_large_and_small(hub)
    daemon = hub.start_daemon(APP)
    wait_until(lambda: len(hub.client.get_history("large") if hub.client.get_status("large") else []) == 4)
    daemon.kill()
    files = list_files(hub)
    assert len(files) == 3  # the input, that of the activity, and its result
    assert all(path.stat().st_size > len(TEXT) for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = {parent for path in files for parent in path.parents if parent.is_relative_to(hub.root)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert measure(hub, "journal/*", "instances/*/*", "index.sqlite") < MIB
    hub.assert_sound()
    assert json.loads(hub("status", "large", "--show-input", "-o", "json").out)["input"] == TEXT
    lines = hub("history", "large", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["type"] for line in lines][:3] == ["ExecutionStarted", "TaskScheduled", "TaskCompleted"]
    assert json.loads(lines[2])["result"] == TEXT

    hub("raise-event", "large", "More", "--data", json.dumps("y" * 100_000))
    hub.run_until_idle(APP)
    assert json.loads(hub("wait", "large").out) == [len(TEXT), "y" * 100_000]
    (purged,) = json.loads(hub("purge", "large", "-o", "json").out)
    assert purged["bytesFreed"] > 3 * len(TEXT)
    assert list_files(hub) == []
    assert hub.read_status("small")["runtimeStatus"] == "Running"
    hub.assert_sound()


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_damaged_file_stops_its_instance_alone_and_the_doctor_names_it(hub: CliHarness, damage: str) -> None:
    hub.environment["DURABLE_PAYLOADS__SPILL_OVER"] = "1KiB"
    for id in ("bad", "good"):
        hub("start", "carries", "--id", id, "--input", json.dumps("x" * 4_000))
    hub.run_until_idle(APP)
    (file,) = (path for path in list_files(hub) if "-3-" in path.name and path.parent.name == "bad")
    if damage == "missing":
        file.unlink()
    else:
        with file.open("r+b") as opened:
            opened.seek(-100, os.SEEK_END)
            opened.write(b"y")
    says = f"its file {file} {'is missing' if damage == 'missing' else 'was altered'}"
    assert says in hub("doctor", code=1).out
    assert says in hub("status", "bad", code=65).err
    assert hub("raise-event", "bad", "More", code=65).err.count("\n") == 1
    hub("raise-event", "good", "More", "--data", "1")
    hub.run_until_idle(APP)
    assert json.loads(hub("wait", "good").out) == [4_000, 1]
    hub("doctor", "--repair")
    hub.assert_sound()
    hub("raise-event", "bad", "More", "--data", "2")
    hub.run_until_idle(APP)
    assert json.loads(hub("wait", "bad").out) == [4_000, 2]
