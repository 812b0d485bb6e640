"""Histories and logs that are damaged, while a daemon runs or before: the rest of the hub works, and a repair helps."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import durablecli as df
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

APP = "bank_under_damage"


def find_file(hub: CliHarness, id: str) -> Path:
    (file,) = [*hub.root.glob(f"instances/*/{id}.jsonl"), *hub.root.glob(f"entities/*/{id}.jsonl")]
    return file


def damage(hub: CliHarness, id: str, how: str, seed: int = 0) -> None:
    """Damage one line of a file, but for the first one."""
    file, dice = find_file(hub, id), random.Random(seed)
    lines = file.read_bytes().split(b"\n")[:-1]
    at = dice.randrange(1, len(lines))
    match how:
        case "zero":
            lines[at] = bytes(len(lines[at]))
        case "cut":
            lines = [*lines[:at], lines[at][:10]]
        case "delete" if len(lines) > 2:
            del lines[-2]
        case "flip" | "delete":
            lines[at] = lines[at][:20] + bytes([lines[at][20] ^ 1]) + lines[at][21:]
        case "swap":
            lines[at - 1], lines[at] = lines[at], lines[at - 1]
        case _:
            lines.insert(at, lines[at])
    with file.open("r+b") as opened:
        opened.write(b"\n".join(lines) + b"\n")
        opened.truncate()


DAMAGES = ["flip", "delete", "swap"]


def drain_daemon(hub: CliHarness) -> None:
    """The daemon that drains leaves nothing in the journal alone."""
    hub.run_until_idle(APP)


@pytest.mark.parametrize("how", DAMAGES)
def test_the_rest_of_the_hub_works_and_a_repair_fixes_it(hub: CliHarness, how: str) -> None:
    hub("start", "waits", "--id", "bad")
    hub("start", "waits", "--id", "good")
    hub("start", "family", "--id", "p")
    hub("entity", "signal", "@account@x", "add", "--input", "1")
    drain_daemon(hub)
    for id in ("bad", "p", "child-1", "account@x"):
        damage(hub, id, how)
    daemon = hub.start_daemon(APP)
    hub.client.raise_event("good", "Go", 1)
    for child in ("child-0", "child-2"):
        hub.client.raise_event(child, "Go", 1)
    for id in ("good", "child-0", "child-2"):
        assert hub.client.wait(id, 30).output == [1, 2]
    for id in ("bad", "p", "child-1"):
        assert hub("status", id, code=65).err.startswith(f"durable: {id} is quarantined")
        assert hub("raise-event", id, "Go", code=65).exit_code == 65
    hub("entity", "signal", "@account@x", "add", "--input", "1")
    wait_until(lambda: "@account@x has been quarantined" in hub("doctor", code=1).out, interval=0.2)
    daemon.send_signal(15)
    assert daemon.wait_for_exit() == 0, daemon.output
    hub("doctor", "--repair")
    hub.assert_sound()
    for id in ("bad", "child-1"):
        hub("raise-event", id, "Go", "--data", "1")
    hub.run_until_idle(APP)
    assert hub.client.get_status("bad").output == [1, 2]
    assert hub.client.get_status("p").output == [[1, 2]] * 3
    assert hub.client.read_entity_state("@account@x").entity_state == 1002
    hub.assert_sound()


def test_a_forced_purge_takes_a_damaged_instance_away_with_and_without_a_daemon(hub: CliHarness) -> None:
    for id in ("one", "two"):
        hub("start", "waits", "--id", id)
    drain_daemon(hub)
    for id in ("one", "two"):
        damage(hub, id, "flip")
    assert "purge --force" in hub("purge", "one", code=65).err
    hub("purge", "one", "--force")
    hub("status", "one", code=3)
    daemon = hub.start_daemon(APP)
    hub("purge", "two", "--force")
    wait_until(lambda: not hub.client.get_status("two"))
    daemon.send_signal(15)
    daemon.wait_for_exit()
    hub.assert_sound()


def test_money_is_constant_whatever_is_damaged(hub: CliHarness) -> None:
    dice = random.Random(7)
    accounts = ["a", "b", "c"]
    for each in accounts:
        hub("entity", "signal", f"@account@{each}", "add", "--input", "0")
    daemon = hub.start_daemon(APP)
    for number in range(30):
        given = {"between": dice.sample(accounts, 2), "amount": dice.randrange(100)}
        hub.client.start_new("transfer", f"t-{number}", client_input=given)
    hub.client.wait(f"t-{dice.randrange(5, 20)}", 30)
    daemon.kill()
    for id in dice.sample([f"t-{number}" for number in range(30)], 8):
        files = list(hub.root.glob(f"instances/*/{id}.jsonl"))
        if files and files[0].read_bytes().count(b"\n") > 1:
            damage(hub, id, dice.choice(["flip", "zero", "cut", "swap", "duplicate"]), dice.randrange(100))
    hub.run_until_idle(APP)
    hub("doctor", "--repair")
    hub.run_until_idle(APP)
    hub.assert_sound()
    for number in range(30):
        assert hub.client.get_status(f"t-{number}").runtime_status is df.OrchestrationRuntimeStatus.Completed
    assert sum(hub.client.read_entity_state(f"@account@{each}").entity_state for each in accounts) == 3000


def test_a_file_that_lost_its_last_lines_is_quarantined(hub: CliHarness) -> None:
    hub("start", "family", "--id", "p")
    drain_daemon(hub)
    file = find_file(hub, "p")
    file.write_bytes(b"".join(line + b"\n" for line in file.read_bytes().split(b"\n")[:2]))
    # It owes nothing, so no engine looks at it; the doctor compares all with the index.
    assert "'p' differs in" in hub("doctor", code=1).out
    hub("doctor", "--repair")
    for n in range(3):
        hub("raise-event", f"child-{n}", "Go", "--data", "1")
    hub.run_until_idle(APP)
    assert hub.read_status("p")["output"] == [[1, 2]] * 3
    hub.assert_sound()


def test_a_hub_can_be_copied_while_a_daemon_runs_and_a_start_still_wakes_it(hub: CliHarness, tmp_path: Path) -> None:
    daemon = hub.start_daemon(APP)
    hub.client.start_new("transfer", "t", client_input={"between": ["a", "b"], "amount": 1})
    hub.client.wait("t", 30)
    shutil.copytree(hub.root, tmp_path / "copy")
    for number in range(5):
        hub.client.start_new("transfer", f"t-{number}", client_input={"between": ["a", "b"], "amount": 1})
        hub.client.wait(f"t-{number}", 30)
    daemon.send_signal(15)
    assert daemon.wait_for_exit() == 0
    shutil.copytree(hub.root, tmp_path / "later")
