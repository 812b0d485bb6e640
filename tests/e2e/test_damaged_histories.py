"""Histories and logs that are damaged, while a daemon runs or before: the rest of the hub works, and a repair helps."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import durablecli as df
from tests.support.cli_harness import Hub, until

APP = "bank_under_damage"


def the_file(hub: Hub, id: str) -> Path:
    (file,) = [*hub.root.glob(f"instances/*/{id}.jsonl"), *hub.root.glob(f"entities/*/{id}.jsonl")]
    return file


def damage(hub: Hub, id: str, how: str, seed: int = 0) -> None:
    """Damage one line of a file, but for the first one."""
    file, dice = the_file(hub, id), random.Random(seed)
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


HOW = ["flip", "delete", "swap"]


def settled(hub: Hub) -> None:
    """The daemon that drains leaves nothing in the journal alone."""
    hub.finish(APP)


@pytest.mark.parametrize("how", HOW)
def test_the_rest_of_the_hub_works_and_a_repair_mends_it(hub: Hub, how: str) -> None:
    hub("start", "waits", "--id", "bad")
    hub("start", "waits", "--id", "good")
    hub("start", "family", "--id", "p")
    hub("entity", "signal", "@account@x", "add", "--input", "1")
    settled(hub)
    for id in ("bad", "p", "child-1", "account@x"):
        damage(hub, id, how)
    daemon = hub.daemon(APP)
    hub.client.raise_event("good", "Go", 1)
    for child in ("child-0", "child-2"):
        hub.client.raise_event(child, "Go", 1)
    for id in ("good", "child-0", "child-2"):
        assert hub.client.wait(id, 30).output == [1, 2]
    for id in ("bad", "p", "child-1"):
        assert hub("status", id, code=65).err.startswith(f"durable: {id} is set aside")
        assert hub("raise-event", id, "Go", code=65).code == 65
    hub("entity", "signal", "@account@x", "add", "--input", "1")
    until(lambda: "@account@x is set aside" in hub("doctor", code=1).out, every=0.2)
    daemon.signal(15)
    assert daemon.ends() == 0, daemon.said
    hub("doctor", "--repair")
    hub.is_sound()
    for id in ("bad", "child-1"):
        hub("raise-event", id, "Go", "--data", "1")
    hub.finish(APP)
    assert hub.client.get_status("bad").output == [1, 2]
    assert hub.client.get_status("p").output == [[1, 2]] * 3
    assert hub.client.read_entity_state("@account@x").entity_state == 1002
    hub.is_sound()


def test_a_forced_purge_takes_a_damaged_instance_away_with_and_without_a_daemon(hub: Hub) -> None:
    for id in ("one", "two"):
        hub("start", "waits", "--id", id)
    settled(hub)
    for id in ("one", "two"):
        damage(hub, id, "flip")
    assert "purge --force" in hub("purge", "one", code=65).err
    hub("purge", "one", "--force")
    hub("status", "one", code=3)
    daemon = hub.daemon(APP)
    hub("purge", "two", "--force")
    until(lambda: not hub.client.get_status("two"))
    daemon.signal(15)
    daemon.ends()
    hub.is_sound()


def test_money_is_constant_whatever_is_damaged(hub: Hub) -> None:
    dice = random.Random(7)
    accounts = ["a", "b", "c"]
    for each in accounts:
        hub("entity", "signal", f"@account@{each}", "add", "--input", "0")
    daemon = hub.daemon(APP)
    for number in range(30):
        given = {"between": dice.sample(accounts, 2), "amount": dice.randrange(100)}
        hub.client.start_new("transfer", f"t-{number}", client_input=given)
    hub.client.wait(f"t-{dice.randrange(5, 20)}", 30)
    daemon.kill()
    for id in dice.sample([f"t-{number}" for number in range(30)], 8):
        files = list(hub.root.glob(f"instances/*/{id}.jsonl"))
        if files and files[0].read_bytes().count(b"\n") > 1:
            damage(hub, id, dice.choice(["flip", "zero", "cut", "swap", "duplicate"]), dice.randrange(100))
    hub.finish(APP)
    hub("doctor", "--repair")
    hub.finish(APP)
    hub.is_sound()
    for number in range(30):
        assert hub.client.get_status(f"t-{number}").runtime_status is df.OrchestrationRuntimeStatus.Completed
    assert sum(hub.client.read_entity_state(f"@account@{each}").entity_state for each in accounts) == 3000


def test_a_file_that_lost_its_last_lines_is_set_aside(hub: Hub) -> None:
    hub("start", "family", "--id", "p")
    settled(hub)
    file = the_file(hub, "p")
    file.write_bytes(b"".join(line + b"\n" for line in file.read_bytes().split(b"\n")[:2]))
    # It owes nothing, so no engine looks at it; the doctor compares all with the index.
    assert "'p' differs in" in hub("doctor", code=1).out
    hub("doctor", "--repair")
    for n in range(3):
        hub("raise-event", f"child-{n}", "Go", "--data", "1")
    hub.finish(APP)
    assert hub.status("p")["output"] == [[1, 2]] * 3
    hub.is_sound()


def test_a_hub_can_be_copied_while_a_daemon_runs_and_a_start_still_wakes_it(hub: Hub, tmp_path: Path) -> None:
    daemon = hub.daemon(APP)
    hub.client.start_new("transfer", "t", client_input={"between": ["a", "b"], "amount": 1})
    hub.client.wait("t", 30)
    shutil.copytree(hub.root, tmp_path / "copy")
    for number in range(5):
        hub.client.start_new("transfer", f"t-{number}", client_input={"between": ["a", "b"], "amount": 1})
        hub.client.wait(f"t-{number}", 30)
    daemon.signal(15)
    assert daemon.ends() == 0
    shutil.copytree(hub.root, tmp_path / "later")
