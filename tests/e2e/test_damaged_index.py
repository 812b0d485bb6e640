"""A damaged index is rebuilt, when the daemon starts and while it runs; nothing but the histories is believed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

PAGE = 4096


def flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(200):
        data[dice.randrange(PAGE, len(data))] ^= 1 << dice.randrange(8)


def zero_pages(data: bytearray, dice: random.Random) -> None:
    for page in range(1, len(data) // PAGE):
        if dice.random() < 0.5:
            data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)


def swap_pages(data: bytearray, dice: random.Random) -> None:
    pages = [data[at : at + PAGE] for at in range(PAGE, len(data), PAGE)]
    dice.shuffle(pages)
    data[PAGE:] = b"".join(pages)


def cut(data: bytearray, dice: random.Random) -> None:
    del data[2 * PAGE :]


def no_database(data: bytearray, dice: random.Random) -> None:
    data[:] = b"this is no database" * 1000


DAMAGES = [flip, zero_pages, swap_pages, cut, no_database]


def damage(hub: CliHarness, how: Callable[[bytearray, random.Random], None], seed: int = 1) -> None:
    file = hub.root / "index.sqlite"
    data = bytearray(file.read_bytes())
    how(data, random.Random(seed))
    with file.open("r+b") as opened:
        opened.truncate(len(data))
        opened.write(data)


def count_indexed(hub: CliHarness) -> int:
    """Count the instances in the file of the index that wait for an event."""
    with closing(sqlite3.connect(f"file:{hub.root / 'index.sqlite'}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM instances WHERE waiting LIKE '%approval%'"
        return int(connection.execute(query).fetchone()[0])


def start_batch(hub: CliHarness, tmp_path: Path, count: int = 60) -> None:
    lines = tmp_path / "inputs.jsonl"
    lines.write_text("".join(f'"{number}"\n' for number in range(count)))
    hub("start", "approval", "--batch", str(lines))


@pytest.mark.parametrize("how", DAMAGES)
def test_a_daemon_starts_with_a_damaged_index(hub: CliHarness, tmp_path: Path, how: Callable[..., None]) -> None:
    start_batch(hub, tmp_path)
    hub("start", "hello", "--id", "owing", "--input", '"x"')
    hub.run_until_idle("plain")
    hub("start", "approval", "--id", "late")
    for seed in (1, 2):
        damage(hub, how, seed)
        hub.run_until_idle("plain")
    assert hub("list", "--count").out.strip() == "62"
    hub.assert_sound()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_daemon_keeps_working_when_its_index_is_damaged(
    hub: CliHarness, tmp_path: Path, how: Callable[..., None]
) -> None:
    start_batch(hub, tmp_path)
    daemon = hub.start_daemon("plain")
    wait_until(lambda: count_indexed(hub) == 60, description="the index has all instances")
    for number in range(3):
        damage(hub, how, number)
        hub.client.start_new("hello", f"more-{number}", client_input="x")
        assert hub.client.wait(f"more-{number}", 30).ended
    assert daemon.alive, daemon.output
    assert hub("list", "--count").out.strip() == "63"
    daemon.send_signal(15)
    assert daemon.wait_for_exit() == 0, daemon.output
    hub.run_until_idle("plain")
    hub.assert_sound()


def test_an_index_with_a_wrong_commit_is_rebuilt(hub: CliHarness) -> None:
    hub("start", "hello", "--id", "h", "--input", '"x"')
    hub.run_until_idle("plain")
    connection = sqlite3.connect(hub.root / "index.sqlite")
    connection.execute("UPDATE meta SET value = 1000000 WHERE key = 'last_commit'")
    connection.commit()
    connection.close()
    hub("start", "hello", "--id", "g", "--input", '"x"')
    hub.run_until_idle("plain")
    assert hub.read_status("g")["runtimeStatus"] == "Completed"
    hub.assert_sound()
