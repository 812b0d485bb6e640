"""Messages to quarantined instances: kept in a file for each instance, in order, until it can take them.

The commit that decides to keep something holds it, and the commit that delivers it says so, so nothing is lost or
delivered twice. The files follow the journal, as histories do; `kept/` holds one for each such instance.
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
    """One line of such a file: `c` is the commit that kept `what`."""

    c: int
    what: QuarantinedMessage


_decode = msgspec.json.Decoder(QuarantinedEntry).decode


def quarantined_messages_path(root: str, instance: str) -> str:
    """The path of the file for an instance."""
    name = entity_file_name(instance) if is_entity_id(instance) else file_name(instance)
    return f"{root}/{QUARANTINED_MESSAGES_FOLDER}/{name}.jsonl"


def read_quarantined_messages(disk: Disk, root: str, instance: str) -> list[QuarantinedEntry]:
    """What is kept for an instance, in order."""
    return _read_entries(disk, quarantined_messages_path(root, instance))


def instances_with_messages(disk: Disk, root: str) -> Iterator[str]:
    """The instances for which something is kept."""
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
        # A bad line is a torn one, which the journal still has, or damage: what stands behind it is of other commits.
        with suppress(CorruptLine):
            found.append(decode_line(line, _decode))
    return found


class QuarantinedMessages:
    """The writer, for the one engine. What it writes is on disk when a call returns: it is seldom needed."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root

    def read(self, instance: str) -> list[QuarantinedEntry]:
        """What is kept for an instance, in order."""
        return read_quarantined_messages(self._disk, self._root, instance)

    def instances(self) -> list[str]:
        """The instances for which something is kept."""
        return list(instances_with_messages(self._disk, self._root))

    def publish(self, commit: Commit) -> None:
        """Write down what a commit keeps and delivers that is in the journal."""
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
        """Keep something that came before all that is kept for an instance; what is kept already isn't kept twice."""
        file = quarantined_messages_path(self._root, instance)
        before = _read_entries(self._disk, file)
        known = [msgspec.json.encode(each.what) for each in before]
        missing = [each for each in messages if msgspec.json.encode(each) not in known]
        c = before[0].c if before else 0
        if missing:
            self._replace(file, [*(QuarantinedEntry(c, each) for each in missing), *before])

    def restore(self, commits: Iterable[Commit]) -> None:
        """Bring the files to what commits say, whatever of it is there already."""
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
    """By instance: up to which commit all was delivered, and what was kept since."""
    found: dict[str, tuple[int, list[QuarantinedEntry]]] = {}
    for commit in commits:
        for kept in commit.quarantined:
            found.setdefault(kept.instance, (-1, []))[1].append(QuarantinedEntry(commit.c, kept))
        for delivered in commit.delivered:
            _, entries = found.get(delivered.instance, (-1, []))
            found[delivered.instance] = (delivered.upto, [each for each in entries if each.c > delivered.upto])
    return found
