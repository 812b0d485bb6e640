"""Messages to quarantined instances: kept in a file per instance, in order, until they can be delivered.

A commit contains each message to keep, and a later commit records its delivery, so none is lost or delivered twice. The
files in `kept/`, one per instance, follow the journal as histories do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from durablecli.model.codec import CorruptLine
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import entity_file_name, file_name
from durablecli.store.disk import Disk
from durablecli.store.journal.commits import Commit, QuarantinedMessage
from durablecli.store.json_lines import decode_line, encode_line
from durablecli.store.layout import QUARANTINED_MESSAGES_FOLDER
from durablecli.store.os_errors import translate_os_errors


class QuarantinedEntry(msgspec.Struct):
    """One line of such a file: the message `what`, kept by the commit `c`."""

    c: int
    what: QuarantinedMessage


_decode = msgspec.json.Decoder(QuarantinedEntry).decode


def quarantined_messages_path(root: str, instance: str) -> str:
    """Return the path of the file for an instance."""
    name = entity_file_name(instance) if is_entity_id(instance) else file_name(instance)
    return f"{root}/{QUARANTINED_MESSAGES_FOLDER}/{name}.jsonl"


def read_quarantined_messages(disk: Disk, root: str, instance: str) -> list[QuarantinedEntry]:
    """Read the messages kept for an instance, in order."""
    return _read_entries(disk, quarantined_messages_path(root, instance))


def instances_with_messages(disk: Disk, root: str) -> Iterator[str]:
    """Yield the instances with kept messages."""
    for name in sorted(disk.listdir(f"{root}/{QUARANTINED_MESSAGES_FOLDER}")):
        if name.endswith(".jsonl") and (entries := _read_entries(disk, f"{root}/{QUARANTINED_MESSAGES_FOLDER}/{name}")):
            yield entries[0].what.instance


def _read_entries(disk: Disk, file: str) -> list[QuarantinedEntry]:
    try:
        lines = disk.read(file).split(b"\n")
    except FileNotFoundError:
        return []
    found: list[QuarantinedEntry] = []
    for line in lines:
        # A bad line is torn, and the journal still has it, or damaged. The lines after it belong to other commits.
        with suppress(CorruptLine):
            found.append(decode_line(line, _decode))
    return found


class QuarantinedMessages:
    """The writer, for the one engine. Each call returns when its changes are on disk: this is rarely needed."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root

    def read(self, instance: str) -> list[QuarantinedEntry]:
        """Read the messages kept for an instance, in order."""
        return read_quarantined_messages(self._disk, self._root, instance)

    def instances(self) -> list[str]:
        """Return the instances with kept messages."""
        return list(instances_with_messages(self._disk, self._root))

    def publish(self, commit: Commit) -> None:
        """Write the kept and delivered messages of a commit that is in the journal."""
        kept: dict[str, list[QuarantinedEntry]] = {}
        for each in commit.quarantined:
            kept.setdefault(each.instance, []).append(QuarantinedEntry(commit.c, each))
        with translate_os_errors("a message to a quarantined instance can't be kept"):
            for instance, entries in kept.items():
                self._append(quarantined_messages_path(self._root, instance), entries)
            for delivered in commit.delivered:
                file = quarantined_messages_path(self._root, delivered.instance)
                self._replace(file, [each for each in _read_entries(self._disk, file) if each.c > delivered.upto])

    def prepend(self, instance: str, messages: Iterable[QuarantinedMessage]) -> None:
        """Insert messages before all those kept for an instance; messages already kept aren't duplicated."""
        file = quarantined_messages_path(self._root, instance)
        before = _read_entries(self._disk, file)
        known = [msgspec.json.encode(each.what) for each in before]
        missing = [each for each in messages if msgspec.json.encode(each) not in known]
        c = before[0].c if before else 0
        if missing:
            self._replace(file, [*(QuarantinedEntry(c, each) for each in missing), *before])

    def restore(self, commits: Iterable[Commit]) -> None:
        """Bring the files to the state in the commits, whatever they already contain."""
        for instance, (upto, kept) in _undelivered_by_instance(commits).items():
            file = quarantined_messages_path(self._root, instance)
            entries = [each for each in _read_entries(self._disk, file) if each.c > upto]
            there = Counter(each.c for each in entries)
            for each in kept:
                if there[each.c] > 0:
                    there[each.c] -= 1
                else:
                    entries.append(each)
            self._replace(file, entries)

    def _append(self, file: str, entries: list[QuarantinedEntry]) -> None:
        if not self._disk.exists(file):
            self._replace(file, entries)
            return
        self._disk.append_once(file, _encode_entries(entries), create=False)
        self._disk.sync_file(file)

    def _replace(self, file: str, entries: list[QuarantinedEntry]) -> None:
        folder = f"{self._root}/{QUARANTINED_MESSAGES_FOLDER}"
        if entries:
            self._disk.make_folder(folder)
            self._disk.sync_folder(self._root)
            self._disk.replace(file, _encode_entries(entries))
        else:
            with suppress(FileNotFoundError):
                self._disk.unlink(file)
                self._disk.sync_folder(folder)


def _encode_entries(entries: Iterable[QuarantinedEntry]) -> bytes:
    return b"".join(encode_line(each) for each in entries)


def _undelivered_by_instance(commits: Iterable[Commit]) -> dict[str, tuple[int, list[QuarantinedEntry]]]:
    """Return, by instance, the commit up to which everything was delivered, and the messages kept since."""
    found: dict[str, tuple[int, list[QuarantinedEntry]]] = {}
    for commit in commits:
        for kept in commit.quarantined:
            found.setdefault(kept.instance, (-1, []))[1].append(QuarantinedEntry(commit.c, kept))
        for delivered in commit.delivered:
            _, entries = found.get(delivered.instance, (-1, []))
            found[delivered.instance] = (delivered.upto, [each for each in entries if each.c > delivered.upto])
    return found
