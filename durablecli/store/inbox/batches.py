"""The parts of a batch: starts of many instances, in files of at most 4 MiB, complete once the manifest exists.

While a batch waits none of its items is in memory.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from zlib import crc32

import msgspec

from durablecli.model.codec import CorruptLine, append_crc, verify_crc
from durablecli.store.disk import Disk
from durablecli.store.inbox.messages import Message, MessageItem

MAX_PART_BYTES = 4 * 1024 * 1024
_PART_HEAD = b'{"items":['
_MAX_INDEXED_ITEMS = 4_000_000

_decode_part = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item = msgspec.json.Decoder(MessageItem).decode


def split_into_parts(encoded: Iterable[bytes]) -> list[list[bytes]]:
    """Split encoded items into parts; an item larger than a part becomes a part of its own."""
    parts: list[list[bytes]] = []
    size = MAX_PART_BYTES
    for item in encoded:
        if size + len(item) > MAX_PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += len(item) + 1
    return parts


def first_indexes(parts: Sequence[Sequence[bytes]]) -> tuple[int, ...]:
    """Return the index of each part's first item."""
    return tuple(itertools.accumulate((len(part) for part in parts[:-1]), initial=0))


def common_prefix(items: Sequence[MessageItem]) -> str | None:
    """Return the common prefix of the ids when they are `<batch>-0`, `<batch>-1` and so on; else None."""
    batch = items[0].instance.removesuffix("-0")
    fits = all(item.target == f"{batch}-{at}" for at, item in enumerate(items))
    return batch if fits else None


def item_index(batch: str, instance: str) -> int | None:
    """Return the index of an instance in the batch, by its id."""
    text = instance.removeprefix(f"{batch}-")
    known = text != instance and text.isascii() and text.isdigit() and len(text) < 12 and str(int(text)) == text
    return int(text) if known else None


class BatchParts:
    """Reads and writes the parts. A part is read as a whole only once, to check it and to find its items; after that,
    each slice is read from its place in the file."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._item_offsets: OrderedDict[str, array[int]] = OrderedDict()
        """For each part, by its path, the offsets of its items, and at the end that of one more."""
        self._indexed_count = 0

    def write(self, message: Message, parts: Sequence[Sequence[bytes]]) -> None:
        """Write all parts, durably; they are invisible before the manifest is renamed into its place."""
        for number, part in enumerate(parts):
            data = append_crc(b"%b%b]" % (_PART_HEAD, b",".join(part)), _crc_seed(message))
            self._disk.create(self._part_path(message, number), data + b"\n", sync=True)
        self._disk.sync_folder(self._folder)

    def read_items(self, message: Message, start: int, count: int) -> list[MessageItem]:
        """Read a slice of the items; raises CorruptLine."""
        found: list[MessageItem] = []
        end = min(start + count, message.count)
        while start < end:
            number = bisect_right(message.parts, start) - 1
            first = message.parts[number]
            part = self._read_from_part(message, number, start - first, end - first)
            if not part:
                raise CorruptLine(f"item {start} is missing")
            found += part
            start += len(part)
        return found

    def _read_from_part(self, message: Message, number: int, start: int, end: int) -> list[MessageItem]:
        path = self._part_path(message, number)
        offsets = self._find_items(path, _crc_seed(message))[start : end + 1]
        if len(offsets) < 2:
            return []
        data = self._disk.read_from(path, offsets[0], offsets[-1] - offsets[0])
        # The input of an item is a view of what it is decoded from, so each is decoded from bytes of its own.
        base = offsets[0]
        texts = (data[begin - base : following - base - 1] for begin, following in itertools.pairwise(offsets))
        try:
            return [_decode_item(text) for text in texts]
        except (msgspec.MsgspecError, ValueError) as error:
            raise CorruptLine(str(error)) from None

    def _find_items(self, path: str, seed: int) -> array[int]:
        offsets = self._item_offsets.get(path)
        if offsets is None:
            offsets = self._item_offsets[path] = self._decode_offsets(path, seed)
            self._indexed_count += len(offsets)
            while self._indexed_count > _MAX_INDEXED_ITEMS and len(self._item_offsets) > 1:
                self._indexed_count -= len(self._item_offsets.popitem(last=False)[1])
        return offsets

    def _decode_offsets(self, path: str, seed: int) -> array[int]:
        body = verify_crc(self._disk.read(path).removesuffix(b"\n"), seed)
        try:
            items = _decode_part(memoryview(body)[len(_PART_HEAD) - 1 :])
        except (msgspec.MsgspecError, ValueError) as error:
            raise CorruptLine(str(error)) from None
        sizes = (memoryview(item).nbytes + 1 for item in items)
        offsets = array("Q", itertools.accumulate(sizes, initial=len(_PART_HEAD)))
        if offsets[-1] != len(body):
            raise CorruptLine("there is something between the items")
        return offsets

    def remove(self, manifest: str) -> None:
        """Unlink the parts of a batch whose manifest (its name) is gone."""
        stem = manifest.removesuffix(".json")
        for number in itertools.count():
            path = f"{self._folder}/{stem}.{number}.part"
            self._indexed_count -= len(self._item_offsets.pop(path, ()))
            try:
                self._disk.unlink(path)
            except FileNotFoundError:
                return

    def remove_orphans(self, names: set[str]) -> None:
        """Unlink those parts among `names` that have no manifest among them."""
        for name in names:
            if name.endswith(".part") and f"{name.split('.')[0]}.json" not in names:
                with suppress(FileNotFoundError):
                    self._disk.unlink(f"{self._folder}/{name}")

    def _part_path(self, message: Message, number: int) -> str:
        return f"{self._folder}/{message.number:012d}-{message.kind}-batch.{number}.part"


def _crc_seed(message: Message) -> int:
    return crc32(message.message.encode())
