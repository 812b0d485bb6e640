"""Reservations: who starts an instance under an id of his own choice holds `inbox/ids/<id>` until its history stands.

So an acknowledged start is never refused later. They aren't synced: after a power cut the waiting start itself, which
was, says that the id is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress

import msgspec

from durablecli.errors import Conflict
from durablecli.model.codec import Damaged, seal, unseal
from durablecli.model.ids import file_name
from durablecli.store.disk import Disk
from durablecli.store.lock import alive, start_token


class Reservation(msgspec.Struct, frozen=True):
    """An id, the message that starts it, and the process that is about to post this message or has posted it."""

    id: str
    message: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return alive(self.pid, self.started)


_decode = msgspec.json.Decoder(Reservation).decode


class Reservations:
    """The folder of reserved ids. Whoever calls `hold` or `forget_stale` has the inbox's lock."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder

    def hold(self, instance: str, message: str, start_waits: Callable[[bool], bool]) -> None:
        """Reserve an id or raise Conflict. One left by a dead process falls to the next who asks, unless its start
        waits: `start_waits(sure)` says that, `sure` when it has to look."""
        path = self._path(instance)
        there = self._disk.exists(path)
        held = self.get(instance)
        if held is not None and held.alive:
            raise Conflict(f"the id {instance!r} is being started by another process (pid {held.pid})")
        if start_waits(there):
            raise Conflict(f"the id {instance!r} is taken: its start waits for a daemon")
        if there:
            with suppress(FileNotFoundError):
                self._disk.unlink(path)
        pid = os.getpid()
        body = msgspec.json.encode(Reservation(instance, message, pid, start_token(pid) or ""))[:-1]
        try:
            self._disk.create(path, seal(body) + b"\n", sync=False)
        except FileExistsError:
            raise Conflict(f"the id {instance!r} is being started by another process") from None

    def get(self, instance: str) -> Reservation | None:
        """Who holds an id; None when nobody does, or nobody can tell."""
        return self._read(file_name(instance))

    def all(self) -> list[Reservation]:
        """Every reservation that can be read, whether its process lives or not."""
        found = (self._read(name) for name in sorted(self._disk.listdir(self._folder)))
        return [each for each in found if each is not None]

    def release(self, instance: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(self._path(instance))

    def forget_stale(self, waiting: Collection[str], taken: Collection[str]) -> None:
        """Release those whose message is taken, and those of dead processes whose message isn't waiting."""
        for name in self._disk.listdir(self._folder):
            held = self._read(name)
            stale = held is None or (held.message not in waiting and not held.alive)
            if stale or (held is not None and held.message in taken):
                with suppress(FileNotFoundError):
                    self._disk.unlink(f"{self._folder}/{name}")

    def _read(self, name: str) -> Reservation | None:
        try:
            return _decode(unseal(self._disk.read(f"{self._folder}/{name}").removesuffix(b"\n")) + b"}")
        except (FileNotFoundError, Damaged, msgspec.MsgspecError, ValueError):
            return None

    def _path(self, instance: str) -> str:
        return f"{self._folder}/{file_name(instance)}"
