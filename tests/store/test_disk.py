"""The disk: modes, symlinks, short writes, and what replacing promises."""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from durablecli.model.ids import shard
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.writer import HistoryWriter
from durablecli.store.journal.commits import HistoryWrite
from durablecli.store.layout import INSTANCES_FOLDER
from durablecli.store.memory_disk import MemoryDisk


@pytest.fixture(params=["local", "memory"])
def disk_and_root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Disk, str]:
    """Both disks must behave alike."""
    if request.param == "local":
        return LocalDisk(), str(tmp_path)
    disk = MemoryDisk()
    disk.make_folder("root")
    return disk, "root"


def test_a_file_grows_and_is_read_in_pieces(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    file = disk.appender(f"{root}/a", create=True)
    file.append(b"one")
    file.append(b"two")
    file.sync()
    assert file.size == disk.size(f"{root}/a") == 6
    file.close()
    disk.append_once(f"{root}/a", b"three", create=False)
    assert disk.read(f"{root}/a") == b"onetwothree"
    assert disk.read_from(f"{root}/a", 3) == b"twothree"
    assert disk.read_from(f"{root}/a", 3, 3) == b"two"
    assert disk.read_from(f"{root}/a", 99) == b""
    disk.truncate(f"{root}/a", 3)
    assert disk.read(f"{root}/a") == b"one"


def test_a_new_file_is_new(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    disk.create(f"{root}/a", b"", sync=True)
    for again in (disk.create, disk.append_once):
        with pytest.raises(FileExistsError):
            again(f"{root}/a", b"x", **{"sync" if again == disk.create else "create": True})
    with pytest.raises(FileExistsError):
        disk.appender(f"{root}/a", create=True)


def test_what_is_missing_is_missing(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    assert disk.listdir(f"{root}/none") == []
    assert not disk.exists(f"{root}/none")
    assert disk.stat(f"{root}/none") is None
    for missing in (disk.read, disk.unlink, disk.sync_file, disk.sync_folder, disk.size):
        with pytest.raises(FileNotFoundError):
            missing(f"{root}/none")
    with pytest.raises(FileNotFoundError):
        disk.append_once(f"{root}/none/a", b"", create=True)
    with pytest.raises(FileNotFoundError):
        disk.append_once(f"{root}/none", b"", create=False)
    with pytest.raises(FileNotFoundError):
        disk.make_folder(f"{root}/none/deeper")


def test_folders_are_made_once_and_listed(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    disk.make_folder(f"{root}/f")
    disk.make_folder(f"{root}/f")
    disk.create(f"{root}/f/a", b"", sync=False)
    disk.make_folder(f"{root}/f/g")
    disk.create(f"{root}/f/g/b", b"", sync=False)
    assert sorted(disk.listdir(f"{root}/f")) == ["a", "g"]
    with pytest.raises(NotADirectoryError):
        disk.make_folder(f"{root}/f/a")
    disk.sync_folder(f"{root}/f")
    disk.sync_all(root)


def test_replacing_leaves_one_file_and_changes_its_identity(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    disk.replace(f"{root}/a", b"old")
    before = disk.stat(f"{root}/a")
    disk.create(f"{root}/a.tmp", b"left by a crash", sync=False)
    disk.replace(f"{root}/a", b"new")
    after = disk.stat(f"{root}/a")
    assert disk.listdir(root) == ["a"]
    assert disk.read(f"{root}/a") == b"new"
    assert before is not None
    assert after is not None
    assert before.identity != after.identity
    assert (after.kind, after.owner, after.mode) == ("file", disk.user, 0o600)


def test_renaming_takes_the_place_of_what_was_there(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    disk.create(f"{root}/a", b"a", sync=False)
    disk.create(f"{root}/b", b"b", sync=False)
    disk.rename(f"{root}/a", f"{root}/b")
    assert disk.listdir(root) == ["b"]
    assert disk.read(f"{root}/b") == b"a"


def test_one_at_a_time_holds_a_lock(disk_and_root: tuple[Disk, str]) -> None:
    disk, root = disk_and_root
    inside = threading.Event()

    def second() -> None:
        with disk.lock(f"{root}/lock"):
            inside.set()

    thread = threading.Thread(target=second)
    with disk.lock(f"{root}/lock"):
        thread.start()
        assert not inside.wait(0.05)
    thread.join()
    assert inside.is_set()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_modes_dont_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    disk, root = LocalDisk(), str(tmp_path)
    old = os.umask(umask)
    try:
        disk.make_folder(f"{root}/folder")
        disk.create(f"{root}/file", b"", sync=False)
        disk.append_once(f"{root}/history", b"x", create=True)
        disk.replace(f"{root}/replaced", b"")
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tmp_path.iterdir()}
    assert modes == {"folder": 0o700, "file": 0o600, "history": 0o600, "replaced": 0o600}


def test_a_symlink_is_never_followed(tmp_path: Path) -> None:
    disk, link = LocalDisk(), tmp_path / "link"
    (tmp_path / "target").write_bytes(b"mine")
    link.symlink_to(tmp_path / "target")
    path = str(link)
    for refused in (
        lambda: disk.read(path),
        lambda: disk.append_once(path, b"x", create=False),
        lambda: disk.append_once(path, b"x", create=True),
        lambda: disk.create(path, b"x", sync=False),
        lambda: disk.truncate(path, 0),
        lambda: disk.sync_file(path),
        lambda: disk.make_folder(path),
        lambda: disk.lock(path).__enter__(),
    ):
        with pytest.raises(OSError, match=r"link|exists|folder"):
            refused()
    facts = disk.stat(path)
    assert facts is not None
    assert facts.kind == "link"
    disk.replace(path, b"own")
    assert (tmp_path / "target").read_bytes() == b"mine"
    assert not link.is_symlink()


def test_a_short_write_is_an_error_and_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    disk, path = LocalDisk(), str(tmp_path / "a")
    file = disk.appender(path, create=True)
    file.append(b"whole line\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))  # the kernel writes up to there, and says how much
    try:
        with pytest.raises(OSError, match="only a part") as error:
            file.append(b"twenty bytes and more\n")
        assert error.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="only a part"):
            disk.append_once(path, b"twenty bytes and more\n", create=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.size == len(b"whole line\n")
    disk.truncate(path, file.size)  # append_once doesn't cut: recovery does
    file.append(b"next\n")
    assert disk.read(path) == b"whole line\nnext\n"
    file.close()


def test_an_error_of_syncfs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalDisk().sync_all(str(tmp_path / "none"))


def test_a_history_costs_few_system_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def watch(name: str) -> None:
        function = getattr(os, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(os, name, watched)

    for name in ("open", "write", "close", "fchmod", "chmod", "fstat", "stat", "lstat", "lseek", "mkdir", "fdatasync"):
        watch(name)
    writer = HistoryWriter(LocalDisk(), str(tmp_path))
    (tmp_path / INSTANCES_FOLDER).mkdir()
    first, second = (HistoryWrite(id, "1", 1, [b"{}"]) for id in ids_of_one_shard(2))
    writer.publish([first])
    calls.clear()
    writer.publish([second])
    assert calls == ["open", "fchmod", "write", "close"]
    calls.clear()
    writer.publish([HistoryWrite(second.instance, "1", 2, [b"{}"])])
    assert calls == ["open", "write", "close"]


def ids_of_one_shard(count: int) -> list[str]:
    return [id for id in map(str, range(10_000)) if shard(id) == shard("0")][:count]
