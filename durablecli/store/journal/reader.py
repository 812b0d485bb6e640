"""The tail of the journal: reading the commits from the checkpoint on, without writing anything.

The valid part is the longest prefix with correct crcs and numbers. After it there are three cases: nothing follows;
a torn tail follows, which a crash explains, because it was never acknowledged; or acknowledged commits follow, or once
followed. The third is damage, and the hub can't be opened.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from durablecli.errors import DamagedHub, NewerHub
from durablecli.model.codec import CorruptLine
from durablecli.store.disk import Disk
from durablecli.store.journal.commits import Commit, decode_commit
from durablecli.store.json_lines import decode_line, encode_line
from durablecli.store.layout import CHECKPOINT_FILE

FORMAT = 1
_SEGMENT_NAME = re.compile(r"(\d{8})\.jsonl")
_MAX_READ_ATTEMPTS = 20


class SegmentHeader(msgspec.Struct):
    """The first line of a segment.

    `first` is the first commit it may hold; the commits up to `copied` were durable when the segment was created.
    """

    format: int
    hub: str
    segment: int
    first: int
    copied: int = 0


class JournalCheckpoint(msgspec.Struct):
    """The first commit still needed, and the segment that holds it."""

    first: int
    segment: int


_decode_header = msgspec.json.Decoder(SegmentHeader).decode
_decode_checkpoint = msgspec.json.Decoder(JournalCheckpoint).decode


class TornTail(NamedTuple):
    """The bytes that a crash left after the last intact line."""

    path: str
    offset: int
    data: bytes


class JournalTail(NamedTuple):
    """The commits still needed, their lines as stored, the next commit number, and the numbers of all segments.

    `is_last_segment_empty`: the last one begins with the next commit and holds nothing but its header.
    """

    commits: list[Commit]
    lines: list[bytes]
    next_commit: int
    segments: list[int]
    torn: TornTail | None
    is_last_segment_empty: bool = False


class _Segment(NamedTuple):
    path: str
    data: bytes
    header: SegmentHeader | None


def segment_path(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.jsonl"


def segment_numbers(disk: Disk, folder: str) -> list[int]:
    """Return the numbers of the existing segments, in order."""
    return sorted(int(found[1]) for name in disk.listdir(folder) if (found := _SEGMENT_NAME.fullmatch(name)))


def decode_header(data: bytes) -> SegmentHeader:
    """Decode the first line of a segment; raises CorruptLine."""
    return decode_line(data[: max(data.find(b"\n"), 0)], _decode_header)


def read_checkpoint(disk: Disk, folder: str) -> JournalCheckpoint:
    path = f"{folder}/{CHECKPOINT_FILE}"
    try:
        return decode_line(disk.read(path), _decode_checkpoint)
    except FileNotFoundError:
        raise DamagedHub(f"{path} is missing; run: durable doctor") from None
    except CorruptLine as error:
        raise DamagedHub(f"{path}: byte 0: {error}; run: durable doctor") from None


def write_checkpoint(disk: Disk, folder: str, checkpoint: JournalCheckpoint) -> None:
    disk.replace(f"{folder}/{CHECKPOINT_FILE}", encode_line(checkpoint))


def read_tail(disk: Disk, folder: str) -> JournalTail:
    """Read the commits from the checkpoint on; raise DamagedHub if no crash explains the content of the files."""
    start, numbers, segments = load_segments(disk, folder)
    found = [_Segment(path, data, _parse_header(path, data)) for path, data in segments.items()]
    commits: list[Commit] = []
    lines: list[bytes] = []
    torn = None
    for at, segment in enumerate(found):
        bad = _collect_commits(segment, start.first + len(commits), commits, lines)
        expected = start.first + len(commits)
        later = next((each.header.first for each in found[at + 1 :] if each.header is not None), None)
        if later is not None and later > expected:
            raise DamagedHub(_error_text(segment, bad, f"commits {expected} to {later - 1} are missing"))
        if later is None and bad is not None:
            if _was_acknowledged(segment, bad[0], expected):
                raise DamagedHub(_error_text(segment, bad, "commits that were on disk are not whole"))
            torn = torn or TornTail(segment.path, bad[0], segment.data[bad[0] :])
    following = start.first + len(commits)
    return JournalTail(commits, lines, following, numbers, torn, bool(found) and _is_empty(found[-1], following))


class LoadedSegments(NamedTuple):
    """The checkpoint, the numbers of all segments, and the bytes of those that are still needed, by path."""

    checkpoint: JournalCheckpoint
    numbers: list[int]
    data: dict[str, bytes]


def load_segments(disk: Disk, folder: str, *, first_may_be_missing: bool = False) -> LoadedSegments:
    """Read the segments from the checkpoint on; raise DamagedHub if they are repeatedly missing.

    A segment may disappear while a reader without the lock reads it, because of a checkpoint: then reading restarts.
    """
    missing = folder
    for _ in range(_MAX_READ_ATTEMPTS):
        start = read_checkpoint(disk, folder)
        numbers = segment_numbers(disk, folder)
        needed = {number for number in numbers if number >= start.segment}
        if not first_may_be_missing:
            needed.add(start.segment)
        paths = [segment_path(folder, number) for number in sorted(needed)]
        try:
            return LoadedSegments(start, numbers, {path: disk.read(path) for path in paths})
        except FileNotFoundError as error:
            missing = str(error.filename)
    raise DamagedHub(
        f"{missing} is missing, and {folder}/{CHECKPOINT_FILE} says that it is needed; restore it from a backup"
    )


def _parse_header(path: str, data: bytes) -> SegmentHeader | None:
    end = data.find(b"\n")
    try:
        header = decode_header(data)
    except CorruptLine:
        return None
    if header.format > FORMAT:
        raise NewerHub(f"{path} has format {header.format}, this durablecli knows {FORMAT}; install a later one")
    return header if end > 0 and path.endswith(f"{header.segment:08d}.jsonl") else None


def _is_empty(segment: _Segment, first: int) -> bool:
    is_header_only = segment.data.find(b"\n") == len(segment.data) - 1
    return segment.header is not None and segment.header.first == first and is_header_only


def _collect_commits(
    segment: _Segment, expected: int, commits: list[Commit], lines: list[bytes]
) -> tuple[int, str] | None:
    """Collect the consecutive intact lines; return the offset and the reason if they end before the file does."""
    if segment.header is None:
        return 0, "the segment's first line is not whole"
    data = segment.data
    offset = data.find(b"\n") + 1
    while offset < len(data):
        end = data.find(b"\n", offset)
        if end < 0:
            return offset, "the line doesn't end"
        line = data[offset:end]
        try:
            commit = decode_commit(line)
        except CorruptLine as error:
            return offset, str(error)
        if commit.c > expected:
            reason = f"commit {commit.c} is found where {expected} belongs"
            raise DamagedHub(_error_text(segment, (offset, reason), "commits are missing"))
        if commit.c == expected:
            # Lower ones came from an earlier segment: this segment is the copy made when the hub was opened.
            commits.append(commit)
            lines.append(line)
            expected += 1
        offset = end + 1
    return None


def _was_acknowledged(segment: _Segment, offset: int, expected: int) -> bool:
    """Return whether commit `expected`, expected at `offset`, was once on disk and so may have been acted on.

    Every line records which commit was durable when it was written, and a segment records how far it is a copy. A
    segment's first line is durable before any other is written.
    """
    if segment.header is not None and segment.header.copied >= expected:
        return True
    for line in segment.data[offset:].split(b"\n"):
        try:
            later = decode_commit(line)
        except CorruptLine:
            continue
        if segment.header is None or later.last_durable >= expected:
            return True
    return False


def _error_text(segment: _Segment, bad: tuple[int, str] | None, reason: str) -> str:
    offset, detail = bad or (len(segment.data), "the segment ends here")
    return f"{segment.path}: byte {offset}: {detail}; {reason}. Restore the file from a backup, or run: durable doctor"
