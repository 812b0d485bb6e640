"""Reservations: while a start under a chosen id is decided and posted, `inbox/ids/<id>` names its message.

Invariant: a start is posted only while the reservation names it, and both are checked under the inbox's lock.

So of several concurrent starters one wins, and an acknowledged start is never refused later. Whether the process that
made a reservation still runs is only a hint: it may be in another PID namespace, where that can't be determined.
Reservations aren't synced: after a power cut the waiting start, which is synced, keeps the id in use.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

import msgspec

from durablecli.errors import Conflict
from durablecli.model.codec import CorruptLine
from durablecli.model.ids import file_name
from durablecli.store.disk import Disk
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_files import BATCH, hash_target
from durablecli.store.json_lines import decode_line, encode_line
from durablecli.store.layout import INBOX_LOCK_FILE, RESERVATIONS_FOLDER
from durablecli.store.os_errors import translate_os_errors
from durablecli.store.process_identity import is_process_alive, pid_namespace, start_token


class Reservation(msgspec.Struct, frozen=True, omit_defaults=True):
    """An id, the message that starts it, and the process that is about to post this message or has posted it.

    A `final` one passes to no other starter: an engine consumes its start without checking the reservation again. Once
    its start is `posted` the inbox decides. `namespace` is the PID namespace of `pid`.
    """

    id: str
    message: str
    pid: int
    started: str
    final: bool = False
    posted: bool = False
    namespace: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether the process is running, as far as can be seen from here."""
        return is_process_alive(self.pid, self.started)

    @property
    def is_binding(self) -> bool:
        """Whether it may not pass to another starter, although its start doesn't wait in the inbox."""
        return not self.posted and (self.is_alive or (self.final and self.namespace != pid_namespace()))


class ReservationLost(Conflict):
    """Another starter, or an engine that opened the hub, took over the reservation before the start was posted."""


_decode = msgspec.json.Decoder(Reservation).decode


class Reservations:
    """The folder of reserved ids. Every change except `release` happens under the inbox's lock."""

    def __init__(self, disk: Disk, root: str, reader: InboxReader) -> None:
        self._disk = disk
        self._folder = f"{root}/{RESERVATIONS_FOLDER}"
        self._lock_path = f"{root}/{INBOX_LOCK_FILE}"
        self._reader = reader
        self._first_targets: frozenset[str] | None = None

    # ── methods that lock the inbox ──────────────────────────────────────────────────────────────────────────────────

    def reserve(
        self, instance: str, message: str, *, allow_pending: bool = False, final: bool = False
    ) -> Reservation | None:
        """Reserve an id for the start `message`; raise Conflict if it is reserved, or if its start waits.

        The caller checks afterwards whether the instance already exists, and if so releases the id. With
        `allow_pending` a waiting start is no conflict: its reservation is returned, for `cancel`. A `final` reservation
        passes to no other starter.
        """
        with translate_os_errors(f"the id {instance!r} is not reserved"), self._disk.lock(self._lock_path):
            if self._first_targets is None:
                # Later starts are found by their reservations: only a power cut loses those, and it also ends this
                # process.
                self._first_targets = self._reader.read_listing().targets
            may_wait = not self._first_targets.isdisjoint((hash_target(instance), BATCH))
            return self._reserve(instance, message, may_wait, allow_pending=allow_pending, final=final)

    def _reserve(
        self, instance: str, message: str, may_wait: bool, *, allow_pending: bool, final: bool
    ) -> Reservation | None:
        held = self.get(instance)
        must_read = may_wait or held is not None or self._disk.exists(self._path(instance))
        starts = self._reader.start_messages(instance) if must_read else set[str]()
        if held is not None and held.is_binding:
            raise Conflict(f"the id {instance!r} is being started by process {held.pid}; try again")
        if starts and not allow_pending:
            raise Conflict(f"the id {instance!r} already exists: its start waits for a daemon")
        self._write(instance, message, final=final)
        return held

    def make_final(self, instance: str, message: str) -> None:
        """Keep a reservation from passing to another client; raises ReservationLost."""
        with translate_os_errors(f"the id {instance!r} is not reserved"), self._disk.lock(self._lock_path):
            self.check_owner(instance, message)
            self._write(instance, message, final=True)

    def cancel(self, instance: str, message: str, previous: Reservation | None) -> None:
        """Undo `reserve` if nothing was posted: an earlier start that still waits gets its id back."""
        with translate_os_errors("an id can't be released"), self._disk.lock(self._lock_path):
            if not self.belongs_to(instance, message):
                return
            if previous is not None and previous.message in self._reader.start_messages(instance):
                self._replace(previous)
            else:
                self.release(instance, message)

    # ── for callers that have the lock ───────────────────────────────────────────────────────────────────────────────

    def belongs_to(self, instance: str, message: str) -> bool:
        """Return whether the id is reserved for this message."""
        held = self.get(instance)
        return held is not None and held.message == message

    def check_owner(self, instance: str, message: str) -> None:
        """Raise ReservationLost unless the id is reserved for this message."""
        if not self.belongs_to(instance, message):
            raise ReservationLost(f"the id {instance!r} was taken by another start at the same time; try again")

    def mark_posted(self, instance: str, message: str) -> None:
        """Record that the start is about to be in the inbox: from now on the inbox decides."""
        self._write(instance, message, posted=True)

    def drop_unposted(self, instance: str) -> None:
        """Take an id from a starter that has decided but not posted yet; raise Conflict if an engine may have it."""
        held = self.get(instance)
        if held is not None and held.final and held.is_binding:
            raise Conflict(f"{instance} is being restarted; try again")
        if held is None or not held.posted:
            self._unlink(file_name(instance))

    def _write(self, instance: str, message: str, *, final: bool = False, posted: bool = False) -> None:
        pid = os.getpid()
        self._replace(Reservation(instance, message, pid, start_token(pid) or "", final, posted, pid_namespace()))

    def _replace(self, reservation: Reservation) -> None:
        self._unlink(file_name(reservation.id))
        try:
            self._disk.create(self._path(reservation.id), encode_line(reservation), sync=False)
        except FileExistsError:
            raise Conflict(f"the id {reservation.id!r} is being started by another process; try again") from None

    def get(self, instance: str) -> Reservation | None:
        """Return the reservation of an id; None if there is none, or it can't be read."""
        return self._read(file_name(instance))

    def list_all(self) -> list[Reservation]:
        """Return every readable reservation, whether its process is alive or not."""
        found = (self._read(name) for name in sorted(self._disk.listdir(self._folder)))
        return [each for each in found if each is not None]

    def release(self, instance: str, message: str) -> None:
        """Release an id if it is reserved for this message.

        Without the lock a reservation made at this very moment may be removed too; its maker detects that and retries.
        """
        if self.belongs_to(instance, message):
            self._unlink(file_name(instance))

    def remove_stale(self, waiting: Collection[str], consumed: Collection[str]) -> None:
        """Release reservations whose message is consumed, and those of dead processes or engines whose message isn't
        waiting."""
        for name in self._disk.listdir(self._folder):
            held = self._read(name)
            stale = held is None or (held.message not in waiting and (held.final or held.posted or not held.is_alive))
            if stale or (held is not None and held.message in consumed):
                self._unlink(name)

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(f"{self._folder}/{name}")

    def _read(self, name: str) -> Reservation | None:
        try:
            return decode_line(self._disk.read(f"{self._folder}/{name}"), _decode)
        except (FileNotFoundError, CorruptLine):
            return None

    def _path(self, instance: str) -> str:
        return f"{self._folder}/{file_name(instance)}"
