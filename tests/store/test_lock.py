"""The lock: one engine per hub, and whoever is refused learns who has it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from durablecli.errors import HubLocked, NoPermission, StorageError
from durablecli.store.disk import LocalDisk
from durablecli.store.hub_file import EngineProcess, read_engine_process, this_process
from durablecli.store.lock import EngineLock
from durablecli.store.process_identity import is_process_alive, start_token

SINCE = datetime(2026, 11, 22, 9, 12, 44, tzinfo=UTC)


def make_lock(root: Path) -> EngineLock:
    return EngineLock(LocalDisk(), str(root))


def write_holder(root: Path, holder: EngineProcess) -> None:
    (root / "hub.json").write_bytes(msgspec.json.encode({"format": 1, "engine": holder}))


def test_the_refused_one_learns_who_holds_the_lock(tmp_path: Path) -> None:
    holder = this_process(SINCE)
    write_holder(tmp_path, holder)
    first, second = make_lock(tmp_path), make_lock(tmp_path)
    first.acquire()
    assert first.is_held
    with pytest.raises(HubLocked, match=rf"run by pid {os.getpid()}, since 2026-11-22 09:12:44Z"):
        second.acquire(timeout=0)
    assert not second.is_held
    assert second.engine_process() == holder
    first.release()
    second.acquire()
    second.release()
    second.release()


def test_an_unnamed_holder_is_a_conflict(tmp_path: Path) -> None:
    lock = make_lock(tmp_path)
    lock.acquire()
    with pytest.raises(HubLocked, match="still starting"):
        make_lock(tmp_path).acquire(timeout=0)
    lock.release()


def test_the_lock_goes_with_its_process_and_its_file_stays(tmp_path: Path) -> None:
    code = f"""
from durablecli.store.disk import LocalDisk
from durablecli.store.lock import EngineLock
lock = EngineLock(LocalDisk(), {str(tmp_path)!r})
lock.acquire()
print("held", flush=True)
input()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held\n"
        inode = (tmp_path / "engine.lock").stat().st_ino
        with pytest.raises(HubLocked):
            make_lock(tmp_path).acquire(timeout=0)
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    lock = make_lock(tmp_path)
    lock.acquire()
    assert (tmp_path / "engine.lock").stat().st_ino == inode
    assert (tmp_path / "engine.lock").stat().st_mode & 0o777 == 0o600
    lock.release()


def test_the_lock_belongs_to_the_process_and_not_to_a_thread(tmp_path: Path) -> None:
    lock = make_lock(tmp_path)
    taker = threading.Thread(target=lock.acquire)
    taker.start()
    taker.join()
    with pytest.raises(HubLocked):
        make_lock(tmp_path).acquire(timeout=0)
    lock.release()
    again = make_lock(tmp_path)
    again.acquire()
    again.release()


def test_a_lock_that_cannot_be_created_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((StorageError, NoPermission), match="can't lock"):
        make_lock(tmp_path / "file").acquire(timeout=0)


def test_a_pid_used_again_is_not_the_process_of_before() -> None:
    me = this_process(SINCE)
    assert me.is_alive
    assert not EngineProcess(me.pid, me.started + "1", SINCE).is_alive
    assert not EngineProcess(me.pid, "another boot:" + me.started.partition(":")[2], SINCE).is_alive


def test_a_process_that_ended_is_dead_even_before_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    token = start_token(child.pid)
    assert token is not None
    assert is_process_alive(child.pid, token)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_process_alive(child.pid, token)
    child.wait()
    assert start_token(child.pid) is None


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"[]", b'{"engine":null}', b'{"engine":{"pid":"x"}}'])
def test_a_hub_file_without_an_engine_has_no_holder(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "hub.json").write_bytes(content)
    assert read_engine_process(LocalDisk(), str(tmp_path)) is None


def test_importing_the_lock_does_not_load_what_taking_it_needs() -> None:
    code = "import sys, durablecli.store.lock; sys.exit('filelock' in sys.modules or 'asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
