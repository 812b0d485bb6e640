"""The parts of a batch: what reading them costs, and what of them stays in memory."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from zlib import crc32

import pytest
from msgspec import Raw

from durablecli.model.codec import CorruptLine, append_crc
from durablecli.store.inbox import batches
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.layout import NEW_MESSAGES_FOLDER, RESERVATIONS_FOLDER, TEMPORARY_MESSAGES_FOLDER
from durablecli.store.memory_disk import MemoryDisk

NEW = f"hub/{NEW_MESSAGES_FOLDER}"


class CountingDisk(MemoryDisk):
    """Counts how often each file is read as a whole, and the bytes read of it piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.whole_reads: Counter[str] = Counter()
        self.manifest_reads: Counter[str] = Counter()
        self.bytes_read_in_pieces = 0
        for folder in ("hub", "hub/inbox", NEW, f"hub/{TEMPORARY_MESSAGES_FOLDER}", f"hub/{RESERVATIONS_FOLDER}"):
            self.make_folder(folder)

    def read(self, path: str) -> bytes:
        if path.endswith(".part"):
            self.whole_reads[path] += 1
        elif path.endswith(".json"):
            self.manifest_reads[path] += 1
        return super().read(path)

    def read_from(self, path: str, offset: int, size: int = -1) -> bytes:
        data = super().read_from(path, offset, size)
        self.bytes_read_in_pieces += len(data)
        return data


def post_starts(disk: MemoryDisk, count: int, size: int) -> None:
    """Post a batch of starts, each with an input of `size` bytes."""
    text = Raw(b'"%b"' % (b"x" * (size - 2)))
    Inbox(disk, "hub").post("start", [MessageItem(f"b-{index}", name="f", input=text) for index in range(count)])


def post_batch(disk: MemoryDisk, count: int, size: int) -> Message:
    """Post the first batch, and return its manifest."""
    post_starts(disk, count, size)
    (message,) = InboxConsumer(disk, "hub").take_next()
    return message


def test_a_batch_read_in_order_decodes_each_part_once() -> None:
    disk = CountingDisk()
    message = post_batch(disk, 30_000, 400)
    parts = batches.BatchParts(disk, NEW)
    found = [item.instance for at in range(0, 30_000, 100) for item in parts.read_items(message, at, 1000)[:100]]
    assert found == [f"b-{index}" for index in range(30_000)]
    assert len(message.parts) > 2
    assert list(disk.whole_reads.values()) == [1] * len(message.parts)


def test_early_starts_in_any_order_decode_no_part_again() -> None:
    disk = CountingDisk()
    message = post_batch(disk, 300, 40_000)
    parts = batches.BatchParts(disk, NEW)
    early = random.Random(1).sample(range(300), 300)
    for at, other in enumerate(early):
        assert [item.instance for item in parts.read_items(message, at, 1)] == [f"b-{at}"]
        assert [item.instance for item in parts.read_items(message, other, 1)] == [f"b-{other}"]
    assert len(message.parts) > 2
    assert list(disk.whole_reads.values()) == [1] * len(message.parts)
    assert disk.bytes_read_in_pieces < 300 * 2 * 41_000


def test_an_item_keeps_none_of_its_part_in_memory() -> None:
    disk = CountingDisk()
    message = post_batch(disk, 30_000, 400)
    tracemalloc.start()
    try:
        parts = batches.BatchParts(disk, NEW)
        kept = [parts.read_items(message, at, 100)[0].input for at in range(0, 30_000, 100)]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < batches.MAX_PART_BYTES // 4
    finally:
        tracemalloc.stop()
    assert len(kept) == 300


def test_an_item_keeps_none_of_a_message_for_several_instances_in_memory() -> None:
    disk = CountingDisk()
    text = Raw(b'"%b"' % (b"x" * 1000))
    Inbox(disk, "hub").post("raise-event", [MessageItem(f"b-{index}", name="e", input=text) for index in range(3000)])
    tracemalloc.start()
    try:
        kept = InboxConsumer(disk, "hub").take_next()[0].items[7].input
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert bytes(kept) == bytes(text)


def test_a_batch_of_many_small_items_keeps_none_of_them_in_memory() -> None:
    disk = CountingDisk()
    consumer = InboxConsumer(disk, "hub")
    for _ in range(3):
        post_starts(disk, 20_000, 10)
    tracemalloc.start()
    try:
        messages = consumer.take_next()
        read = [consumer.read_items(message, 19_999, 1)[0].instance for message in messages]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert read == ["b-19999"] * 3


def test_many_starts_with_ids_of_their_own_stay_in_their_message() -> None:
    """An event must find the start that it has to come after, by its id."""
    disk = CountingDisk()
    Inbox(disk, "hub").post("start", [MessageItem(f"id-{index**2}", name="f") for index in range(2_000)])
    (message,) = InboxConsumer(disk, "hub").take_next()
    assert (len(message.items), message.parts) == (2_000, ())


def test_waiting_batches_that_take_turns_are_decoded_once() -> None:
    disk = CountingDisk()
    for _ in range(100):
        post_starts(disk, 1_100, 10)
    consumer = InboxConsumer(disk, "hub")
    messages = consumer.take_next()
    assert len(messages) == 100
    for at in range(3):
        for message in messages:
            consumer.read_items(message, at, 1)
    assert [*disk.whole_reads.values()] == [1] * 100


def test_what_is_known_of_the_parts_is_forgotten_with_the_batch() -> None:
    disk = CountingDisk()
    consumer = InboxConsumer(disk, "hub")
    in_use: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(4):
            post_batch(disk, 50_000, 50)
            (message,) = consumer.take_next()
            assert consumer.read_items(message, 7, 1)[0].instance == "b-7"
            assert len(message.parts) > 1
            consumer.remove([message.message])
            gc.collect()
            in_use.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert in_use[-1] < in_use[0] + 300_000


def test_a_part_with_something_between_its_items_is_damaged() -> None:
    disk = CountingDisk()
    message = post_batch(disk, 300, 40_000)
    body = b'{"items":[{"instance":"b-0"} ,{"instance":"b-1"}]'
    path = f"{NEW}/{message.number:012d}-start-batch.0.part"
    disk.truncate(path, 0)
    disk.append_once(path, append_crc(body, crc32(message.message.encode())) + b"\n", create=False)
    with pytest.raises(CorruptLine, match="between the items"):
        batches.BatchParts(disk, NEW).read_items(message, 0, 1)


@pytest.mark.parametrize("size", [10, 5_000])
def test_a_reader_that_waits_for_one_instance_reads_its_batch_once(size: int) -> None:
    disk = CountingDisk()
    post_batch(disk, 1_000, size)
    reader = InboxReader(disk, "hub")
    disk.whole_reads.clear()
    disk.manifest_reads.clear()
    for _ in range(10):
        for instance in ("b-7", "b-999", "other"):
            found = [item.instance for message in reader.abridged_messages(instance) for item in message.items]
            assert found == ([] if instance == "other" else [instance])
    assert set(disk.whole_reads.values()) <= {1}
    assert [*disk.manifest_reads.values()] == [3]
    assert [each.total for each in reader.abridged_messages("b-7")] == [1_000]
    assert [each.total for each in reader.pending_messages("b-7")] == [1]
