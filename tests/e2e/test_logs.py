"""`durable logs`: what functions print and log, in all executors, also after kills, and never twice."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_harness import COMMAND, FLOWS, CliHarness
from tests.support.waiting import wait_until


def read_log(hub: CliHarness, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in hub("logs", *arguments, "-o", "jsonl").out.splitlines()]


def read_texts(hub: CliHarness, *arguments: str) -> list[str]:
    return [entry["text"] for entry in read_log(hub, *arguments)]


def test_a_fan_out_in_all_executors_is_in_the_log(hub: CliHarness) -> None:
    hub("start", "fan", "--id", "f", "--input", "20")
    output = hub.run_until_idle("logs")
    entries = read_log(hub, "f")
    kinds = {"in_thread": "thread", "in_loop": "loop", "in_process": "process"}
    wanted = {
        (name, text)
        for name, kind in kinds.items()
        for number in range(20)
        for text in (f"{kind} prints {number}", f"{kind} logs {number}", f"a module of {kind} {number}")
    } | {("fan", "fan of 20"), ("fan", "the fan is done")}
    assert Counter((entry["name"], entry["text"]) for entry in entries) == Counter(wanted)
    numbers = {entry["id"] for entry in entries if entry["source"] == "activity"}
    assert len(numbers) == 60
    assert all(len(read_texts(hub, "f", "--activity", str(number))) == 3 for number in sorted(numbers)[:2])
    for text in ("thread prints 7", "loop prints 8", "process prints 9", "fan of 20"):
        assert text in output, "it is still printed by the daemon"
    assert [entry["text"] for entry in (entries[0], entries[-1])] == ["fan of 20", "the fan is done"]
    hub.assert_sound()


def test_nothing_is_lost_or_repeated_when_the_engine_is_killed(hub: CliHarness) -> None:
    hub("start", "killed", "--id", "k")
    assert hub.start("run-daemon", app="logs").wait_for_exit() == -signal.SIGKILL
    assert read_texts(hub, "k", "--activity", "kill_the_engine") == ["before False", "without an end"]
    hub.run_until_idle("logs")
    texts = read_texts(hub, "k")
    assert [text for text in texts if "turn" in text] == ["first turn", "second turn", "third turn"]
    again = ["before True", "without an end", "after"]
    assert read_texts(hub, "k", "--activity", "kill_the_engine") == ["before False", "without an end", *again]
    assert texts.count("thread prints 1") == 1


def test_the_lines_of_a_worker_that_dies_are_kept(hub: CliHarness) -> None:
    hub("start", "worker_killed", "--id", "w")
    hub.run_until_idle("logs")
    assert read_texts(hub, "w") == ["before False", "before True", "after"]


@pytest.mark.parametrize("name", ["waits", "waits_in_process"])
def test_lines_are_readable_while_the_activity_runs(hub: CliHarness, name: str) -> None:
    hub("start", "waiting", "--id", "w", "--input", json.dumps(name))
    hub.start_daemon("logs")
    follower = hub.start("logs", "w", "-f", "-o", "jsonl")
    follower.wait_for_output("begins to wait")
    assert read_texts(hub, "w") == ["begins to wait"]
    hub.release()
    assert follower.wait_for_exit() == 0
    assert [json.loads(line)["text"] for line in follower.output.splitlines()] == [
        "begins to wait",
        "has waited",
        "the end",
    ]


def test_durable_run_keeps_a_log_too(hub: CliHarness) -> None:
    hub.run("logs", "fan", "--id", "f", "--input", "1")
    assert "thread logs 0" in read_texts(hub, "f")
    assert "process logs 0" in read_texts(hub, "f")


def test_an_entity_has_a_log(hub: CliHarness) -> None:
    hub("entity", "signal", "@counter@a", "add", "--input", "2", "--anyway")
    hub.run_until_idle("logs")
    (entry,) = read_log(hub, "@counter@a")
    assert (entry["source"], entry["name"], entry["text"]) == ("entity", "add", "adds 2")
    assert "adds 2" in hub("logs", "@Counter@a").out
    hub("entity", "delete", "@counter@a")
    hub.run_until_idle("logs")
    assert len(read_log(hub, "@counter@a")) == 1, "a deleted state keeps the log"
    hub("entity", "purge", "@counter@a")
    hub.run_until_idle("logs")
    hub("logs", "@counter@a", code=3)


def test_a_purge_removes_the_log(hub: CliHarness) -> None:
    hub.run("logs", "fan", "--id", "f", "--input", "1")
    files = list(hub.root.glob("logs/*/*"))
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
    assert {folder.stat().st_mode & 0o777 for folder in (hub.root / "logs", files[0].parent)} == {0o700}
    hub("purge", "f")
    hub.run_until_idle("logs")
    assert list(hub.root.glob("logs/*/*")) == []
    hub("logs", "f", code=3)


def test_other_outcomes_of_the_command(hub: CliHarness) -> None:
    hub.run("logs", "silent", "--id", "s")
    hub.run("logs", "fan", "--id", "f", "--input", "1")
    result = hub("logs", "s")
    assert (result.out, result.err.strip()) == ("", "s has printed and logged nothing")
    assert hub("logs", "f", "--activity", "nothing").err.strip() == "f has printed and logged nothing in nothing"
    assert hub("logs", "nobody", code=3).err.startswith("durable: no instance 'nobody'")
    assert hub("logs", "@nobody@a", code=3).err.startswith("durable: no entity '@nobody@a'")
    hub("logs", "f", "-f", "-o", "json", code=2)
    hub("logs", "f", "--tail", "-1", code=2)
    assert len(json.loads(hub("logs", "f", "-o", "json").out)) == 11
    assert len(hub("logs", "f", "--tail", "3").out.splitlines()) == 3
    assert "WARNING a module of thread 0" in hub("logs", "f", "--utc").out


def test_the_command_ends_quietly_with_its_reader_and_with_ctrl_c(hub: CliHarness, tmp_path: Path) -> None:
    hub.run("logs", "fan", "--id", "f", "--input", "20")
    command = " ".join([*COMMAND, "logs", "f", "--state-dir", str(hub.root)])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1"], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert done.stdout.endswith("fan of 20\n")
    assert done.stderr == ""
    hub("start", "waiting", "--id", "w", "--input", '"waits"')
    follower = hub.start("logs", "w", "-f")
    hub.start_daemon("logs")
    follower.wait_for_output("begins to wait")
    follower.send_signal(signal.SIGINT)
    assert follower.wait_for_exit() == 130
    assert "Traceback" not in follower.output
    hub.release()


def test_a_log_that_cannot_be_written_stops_nothing(hub: CliHarness) -> None:
    hub.root.mkdir(mode=0o700)
    (hub.root / "logs").mkdir(mode=0o700)
    for number in range(256):
        (hub.root / "logs" / f"{number:02x}").symlink_to(hub.folder)
    hub("start", "fan", "--id", "f", "--input", "5")
    output = hub.run_until_idle("logs")
    assert hub.read_status("f")["runtimeStatus"] == "Completed"
    assert output.count("lines that functions print are missing in the logs") == 1
    assert not list(hub.folder.glob("*.jsonl"))


def test_a_symlink_in_place_of_the_folder_is_refused(hub: CliHarness) -> None:
    hub("start", "silent", "--id", "s")
    (hub.root / "logs").symlink_to(hub.folder)
    assert "is a link, not a folder" in hub("run-daemon", "--until-idle", "--app", str(FLOWS / "logs.py"), code=77).err


def test_half_written_and_damaged_lines_are_left_out(hub: CliHarness) -> None:
    hub("start", "waiting", "--id", "w", "--input", '"waits"')
    daemon = hub.start_daemon("logs")
    wait_until(lambda: read_texts(hub, "w") == ["begins to wait"], description="the first line")
    daemon.kill()
    (file,) = hub.root.glob("logs/*/*")
    file.write_bytes(file.read_bytes() + b'\0\0\0\n[]\n{"at":"2026-11-29T13:35:25Z","level":"INFO","te')
    assert read_texts(hub, "w") == ["begins to wait"]
    hub.release()
    hub.run_until_idle("logs")
    assert read_texts(hub, "w") == ["begins to wait", "begins to wait", "has waited", "the end"]
