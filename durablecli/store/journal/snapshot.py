"""A snapshot of the journal: its bytes at one moment, of which only the relevant lines are decoded.

For readers, who may see any state left by a running or dead engine. This module doesn't detect damage: unreadable lines
are skipped, and opening the hub reports the reason.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from durablecli.model.codec import CorruptLine
from durablecli.store.disk import Disk
from durablecli.store.journal.commits import Commit, decode_commit
from durablecli.store.journal.reader import load_segments

_SINGLE_SEARCH_LIMIT = 16
_CONSUMED_PATTERN = re.compile(rb'\{"message":"([^"\\]*)"\}')


class JournalSnapshot(NamedTuple):
    """The bytes of the journal. `first` is the first commit that the histories on disk may lack."""

    first: int
    segment_data: list[bytes]

    def for_instance(self, instance: str) -> list[Commit]:
        """Decode the commits about one instance; their content about other instances is incomplete."""
        # msgspec encodes a string in exactly one way, so the bytes can be searched.
        commits = self._decode_commits(b'"instance":%b' % msgspec.json.encode(instance), self.first)
        for commit in commits:
            commit.writes = [write for write in commit.writes if write.instance == instance]
            commit.purged = [purged for purged in commit.purged if purged.instance == instance]
        return commits

    def after(self, last: int) -> list[Commit]:
        """Return the commits after number `last`."""
        return self._decode_commits(b"", max(last + 1, self.first))

    def consumed_among(self, messages: Collection[str]) -> set[str]:
        """Return those of these messages that a commit has consumed completely."""
        if len(messages) > _SINGLE_SEARCH_LIMIT:
            return set(messages).intersection(
                each.decode() for data in self.segment_data for each in _CONSUMED_PATTERN.findall(data)
            )
        return {
            each for each in messages if any(b'{"message":"%b"}' % each.encode() in data for data in self.segment_data)
        }

    def consumed_count(self, message: str) -> int:
        """Return how many items of a batch are consumed, the first ones, as long as it isn't consumed completely."""
        pattern = re.compile(rb'\{"message":"%b","upto":(\d+)\}' % re.escape(message.encode()))
        return max((int(upto) for data in self.segment_data for upto in pattern.findall(data)), default=0)

    def _decode_commits(self, needle: bytes, first: int) -> list[Commit]:
        found: list[Commit] = []
        for data in self.segment_data:
            if needle not in data:
                continue
            for line in _lines(data, first):
                if needle not in line:
                    continue
                try:
                    commit = decode_commit(line)
                except CorruptLine:
                    break  # a torn tail, or a line that is just being written
                # A newer segment may begin with a copy of the older one's tail.
                if not found or commit.c > found[-1].c:
                    found.append(commit)
        return found


def read_journal_snapshot(disk: Disk, folder: str) -> JournalSnapshot:
    """Read the segments that are still needed; raises DamagedHub if they are repeatedly missing."""
    start, _, segments = load_segments(disk, folder, first_may_be_missing=True)
    return JournalSnapshot(start.first, list(segments.values()))


def _lines(data: bytes, first: int) -> Iterator[bytes]:
    """Yield the complete lines of a segment whose commit isn't below `first`."""
    begin = data.find(b"\n") + 1  # after the header
    while (end := data.find(b"\n", begin)) >= 0:
        comma = data.find(b",", begin, end)
        number = data[begin + len(b'{"c":') : comma]
        if not number.isdigit() or int(number) >= first:
            yield data[begin:end]
        begin = end + 1
