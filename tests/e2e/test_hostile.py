"""One bad thing after the other, against the real daemon: the rest of the hub works on, the doctor names what was set
aside, a repair puts it right, and no money is made or lost."""

from __future__ import annotations

import http.client
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from msgspec import Raw

from durablecli import EntityId
from durablecli.__main__ import main
from durablecli.store import disk
from durablecli.store.disk import LocalDisk
from durablecli.store.history.file import history_path
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from tests.support.cli_harness import COMMAND, CliHarness, DurableProcess
from tests.support.waiting import wait_until

BANK = str(Path(__file__).parents[2] / "workflows" / "bank")
ACCOUNTS, MONEY = 10, 100

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(sys.platform != "linux", reason="limits, signals and namespaces are Linux's here"),
]


HOLD_LOCK_SCRIPT = """
import signal, sys
from durablecli.store.disk import LocalDisk
with LocalDisk().lock(sys.argv[1]):
    print("held", flush=True)
    signal.pause()
"""


class Bank:
    """Customers who ask for transfers all the time, whatever happens to the daemon."""

    def __init__(self, hub: CliHarness) -> None:
        self.hub = hub
        self.requested: list[str] = []
        self._closed = Event()
        self._rng = random.Random(1)
        for key in range(ACCOUNTS):
            hub.client.signal_entity(EntityId("account", str(key)), "deposit", MONEY)
        self._customers = Thread(target=self._request_transfers)
        self._customers.start()

    def _request_transfers(self) -> None:
        while not self._closed.wait(0.1):
            source, target = map(str, self._rng.sample(range(ACCOUNTS), 2))
            order = {"source": source, "target": target, "amount": self._rng.randint(1, 60)}
            self.requested.append(self.hub.client.start_new("transfer", client_input=order))

    def close(self) -> None:
        """Let nobody ask any more."""
        self._closed.set()
        self._customers.join()

    def balance(self) -> int:
        """All the money there is, when every transfer has ended."""
        for each in self.requested:
            assert self.hub.client.wait(each, 60).runtime_status is not None
        states = [self.hub.client.read_entity_state(f"@account@{key}").entity_state for key in range(ACCOUNTS)]
        return sum(state["balance"] for state in states)


@pytest.fixture
def bank(hub: CliHarness) -> Iterator[Bank]:
    opened = Bank(hub)
    yield opened
    opened.close()


def start_daemon(hub: CliHarness, *options: str, **settings: str) -> DurableProcess:
    return hub.start_daemon("hostile", "--app", BANK + ".py", *options, DURABLE_CHECKPOINT__EVERY="200ms", **settings)


def assert_works(hub: CliHarness, name: str) -> None:
    """Whatever else is wrong: an orchestration that has nothing to do with it ends."""
    hub("start", "healthy", "--id", f"healthy-{name}", "--anyway")
    assert hub.client.wait(f"healthy-{name}", 60).output == 2


def assert_ends_well(hub: CliHarness, bank: Bank) -> None:
    """At the end: everything works, nothing is wrong with the files, and all money is there."""
    wait_until(lambda: len(bank.requested) > 3, description="transfers are requested")
    bank.close()
    running = next((each for each in hub.processes if each.alive), None) or start_daemon(hub)
    assert_works(hub, "end")
    assert bank.balance() == ACCOUNTS * MONEY
    running.send_signal(signal.SIGTERM)
    assert running.wait_for_exit() == 0, running.output
    assert "Traceback" not in running.output
    hub.assert_sound()


def wait_for_findings(hub: CliHarness, *texts: str) -> None:
    def all_reported() -> bool:
        found = hub("doctor", code=None)
        return found.exit_code == 1 and all(text in found.out.replace("\n", " ") for text in texts)

    wait_until(all_reported, 30, f"the doctor names {texts}", interval=0.2)


def test_deep_trees_and_bounded_failures(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub)
    hub("start", "nested", "--id", "failing", "--input", '{"depth": 300, "fails": true}')
    assert "at the bottom" in str(hub.client.wait("failing", 100).output)
    assert_works(hub, "failed")
    size = sum(file.stat().st_size for file in (hub.root / "instances").rglob("*.jsonl"))
    assert size < 300 * 100 * 1024
    hub("start", "nested", "--id", "deep", "--input", '{"depth": 900, "fails": false}')
    hub("start", "nested", "--id", "too-deep", "--input", '{"depth": 1100, "fails": false}')
    assert "1,000" in str(hub.client.wait("too-deep", 100).output)
    hub("terminate", "deep")
    assert_works(hub, "terminated")
    hub("purge", "deep")
    assert_works(hub, "purged")
    assert not hub.client.get_status("deep")
    assert running.alive, running.output
    assert_ends_well(hub, bank)


def test_values_that_an_earlier_version_accepted(hub: CliHarness, bank: Bank) -> None:
    hub("start", "waits", "--id", "reached", "--anyway")
    inbox = Inbox(LocalDisk(), str(hub.root))
    for depth in (300, 900, 5_000):
        value = Raw(b"[" * depth + b"]" * depth)
        inbox.post("start", [MessageItem(f"deep-{depth}", "echoes", value)])
        inbox.post("raise-event", [MessageItem("reached", "Other", value)])
    start_daemon(hub)
    for depth in (300, 900):
        assert hub.client.wait(f"deep-{depth}", 60).runtime_status is not None
        shown = hub("status", f"deep-{depth}", "--show-input", "-o", "json").out
        assert f"nested deeper than 200 levels, not shown ({2 * depth:,} bytes)" in shown
    for verb in ("status", "history"):
        hub(verb, "deep-900", "-o", "yaml")
    assert "deep-900" in hub("list", "-o", "json", "--name", "echoes").out
    hub("raise-event", "reached", "Go", "--data", "1")
    assert hub.client.wait("reached", 60).output == 1
    wait_for_findings(hub, "the message can't be read")
    stop_cleanly(hub, hub.processes[-1])
    hub("doctor", "--repair")
    assert_ends_well(hub, bank)


def test_a_message_and_an_instance_that_fail_in_the_engine(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub, FAULTS="message,turn")
    for id in ("bad-message", "bad-turn"):
        hub("start", "waits", "--id", id)
    assert_works(hub, "before")
    for id in ("bad-message", "bad-turn"):
        hub("raise-event", id, "Go", "--data", "1")
    wait_for_findings(hub, "raise-event for bad-message failed", "a fault of the engine")
    wait_until(lambda: hub.read_status("bad-turn")["blocked"], description="the instance is blocked")
    assert "a fault of the engine" in hub.read_status("bad-turn")["blocked"]["reason"]
    assert_works(hub, "after")
    assert running.alive, running.output
    running.kill()
    hub("doctor", "--repair", code=None)
    start_daemon(hub)
    for id in ("bad-message", "bad-turn"):
        assert hub.client.wait(id, 60).output == 1
    assert_ends_well_without_log(hub, bank)


def assert_ends_well_without_log(hub: CliHarness, bank: Bank) -> None:
    """The same where a log of an earlier daemon holds the traceback of a fault."""
    assert_ends_well(hub, bank)


def damage(hub: CliHarness, instance: str, how: Callable[[list[bytes]], list[bytes]]) -> None:
    file = Path(history_path(str(hub.root), instance))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(how(lines)))


def stop_cleanly(hub: CliHarness, running: DurableProcess) -> None:
    """Stop a daemon so that no journal can complete a history that is damaged next."""
    running.send_signal(signal.SIGTERM)
    assert running.wait_for_exit() == 0, running.output


def test_damaged_histories_and_logs(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub)
    for id in ("torn", "unread"):
        hub("start", "waits", "--id", id)
    hub("start", "asks", "--id", "parent")
    wait_until(lambda: hub.client.get_status("parent-child"), description="the child begins")
    hub("raise-event", "parent-child", "Go", "--data", "7")
    assert hub.client.wait("parent", 60).output == 7
    hub("entity", "signal", "@account@x", "deposit", "--input", "1")
    wait_until(lambda: hub.client.read_entity_state("@account@x").entity_exists, description="the account x")
    stop_cleanly(hub, running)
    damage(hub, "torn", lambda lines: [lines[0], lines[1][:-20] + b"X" + lines[1][-19:], *lines[2:]])
    damage(hub, "unread", lambda lines: [b"\0" * 100 + b"\n", *lines[1:]])
    damage(hub, "parent", lambda lines: [line for line in lines if b"SubOrchestrationInstanceCompleted" not in line])
    damage(hub, "@account@x", lambda lines: [*lines, lines[-1]])
    running = start_daemon(hub)
    hub("raise-event", "torn", "Go", "--data", "1", code=None)
    assert_works(hub, "beside damage")
    shown = hub("doctor", code=1).out
    for id in ("torn", "unread", "parent"):
        assert re.search(rf"\b{id}\b", shown.replace("\n", " ")) or history_path("", id) in shown, shown
    assert hub("status", "torn", code=None).exit_code in (0, 65)
    stop_cleanly(hub, running)
    hub("doctor", "--repair", code=None)
    hub.assert_sound()
    start_daemon(hub)
    assert hub.client.wait("parent", 60).runtime_status.value in ("Completed", "Failed")  # type: ignore[union-attr]
    account: Any = hub.client.read_entity_state("@account@x").entity_state
    assert account["balance"] == 1
    assert_ends_well(hub, bank)


def test_a_damaged_index(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub)
    assert_works(hub, "before")
    stop_cleanly(hub, running)
    index = hub.root / "index.sqlite"
    data = bytearray(index.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    index.write_bytes(data)
    start_daemon(hub)
    assert_works(hub, "with a new index")
    assert_ends_well(hub, bank)


def test_folders_forks_and_handles(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub)
    inputs = {"moves": '["moves", "/"]', "forks": '["forks", 1]', "hogs": '["hogs", 2]'}
    import resource

    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (96, 96))
    for id, given in inputs.items():
        hub("start", "calls", "--id", id, "--input", given)
    assert [hub.client.wait(id, 90).output for id in inputs] == ["/", [True], True], running.output
    assert_works(hub, "elsewhere")
    assert running.alive, running.output
    assert sorted(path.name for path in hub.folder.glob("**/hub.json")) == ["hub.json"]
    assert_ends_well(hub, bank)


def test_workers_end_with_a_daemon_that_is_killed(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub)
    note = hub.folder / "worker"
    hub("start", "calls", "--id", "sleeper", "--input", json.dumps(["sleeps_in_a_worker", str(note)]))
    wait_until(lambda: note.exists() and note.read_text(), description="the worker begins")
    pid = int(note.read_text())
    running.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 20, "the worker ends")
    start_daemon(hub)
    hub("terminate", "sleeper")
    assert_ends_well(hub, bank)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_until_idle_does_what_is_due(hub: CliHarness) -> None:
    for at in range(5):
        hub("start", "due_at_once", "--id", f"d-{at}", "--anyway")
    hub.run_until_idle("hostile")
    assert [hub.client.get_status(f"d-{at}").output for at in range(5)] == ["done"] * 5


def test_a_page_of_another_site_starts_nothing(hub: CliHarness, bank: Bank) -> None:
    running = start_daemon(hub, "--http", "0")
    running.wait_for_output("/api/starts")
    port = int(re.search(r"127\.0\.0\.1:(\d+)", running.output).group(1))  # type: ignore[union-attr]
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/api/starts", headers=headers)
            assert connection.getresponse().status == 403
    assert not hub.client.get_status("from-another-site")
    assert_works(hub, "after")
    assert_ends_well(hub, bank)


def test_two_pid_namespaces_on_one_hub(hub: CliHarness, bank: Bank) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespaces here")
    start_daemon(hub)
    hub.command_prefix = ["unshare", "--pid", "--fork"]
    for at in range(5):
        codes = sorted(_start_twice(hub, at))
        assert codes == [0, 4], (at, codes)
    hub.command_prefix = []
    assert_ends_well(hub, bank)


def _start_twice(hub: CliHarness, at: int) -> list[int]:
    words = [*hub.command_prefix, *COMMAND, "start", "waits", "--id", f"one-{at}", "--if-exists", "fail"]
    started = [
        subprocess.Popen(
            [*words, "--state-dir", str(hub.root)],
            cwd=hub.folder,
            env=hub.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    return [each.wait(60) for each in started]


def test_a_full_terminal_a_stopped_process_and_a_copy(
    hub: CliHarness, bank: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = start_daemon(hub)
    with open("/dev/full", "wb") as full:
        code = subprocess.run(
            [*COMMAND, "status", "nothing", "--state-dir", str(hub.root)], stderr=full, check=False
        ).returncode
    assert code == 74
    shutil.copytree(hub.root, hub.folder / "copy")
    wait_until(lambda: len(bank.requested) > 3, description="transfers are requested")
    bank.close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK_SCRIPT, str(hub.root / "inbox" / "lock")], stdout=-1
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(disk, "_LOCK_TIMEOUT", 1.0)
        monkeypatch.setattr(sys, "argv", ["durable", "start", "waits", "--state-dir", str(hub.root)])
        with pytest.raises(SystemExit, match="75"):
            main()
        holder.kill()
        assert f"pid {holder.pid}" in capsys.readouterr().err
    assert_works(hub, "after")
    assert running.alive, running.output
    assert_ends_well(hub, bank)
