"""The files of messages: their names, which make reading most files unnecessary, and their encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from durablecli.model.codec import CorruptLine, append_crc, verify_crc
from durablecli.store.inbox.messages import Message, MessageItem

FORMAT = 1
BATCH = "batch"
"""Replaces the target in the name of a message for several instances."""
_FORMAT_PREFIX = b'{"format":%d,' % FORMAT

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode


def message_file_name(message: Message, items: Sequence[MessageItem]) -> str:
    """Build the name of a message's file from its number, kind and target: `000000000007-start-HASH.json`."""
    target = hash_target(items[0].target) if len(items) == 1 else BATCH
    return f"{message.number:012d}-{message.kind}-{target}.json"


def hash_target(instance: str) -> str:
    """Hash an instance or entity for the names of files."""
    return sha256(instance.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def number_in_name(name: str) -> int:
    """Return the number at the start of a file name; 0 for foreign names."""
    digits = name[:12]
    return int(digits) if len(digits) == 12 and digits.isascii() and digits.isdigit() and name[12:13] == "-" else 0


def kind_in_name(name: str) -> str:
    """Return the kind of message in a file name; empty for foreign names."""
    return name[13:].rpartition("-")[0] if name.endswith(".json") else ""


def target_in_name(name: str) -> str:
    """Return the hash of the target in a file name, or BATCH."""
    return name.removesuffix(".json").rpartition("-")[2]


def encode_message(message: Message, encoded_items: Sequence[bytes] = ()) -> bytes:
    """Encode a message as the content of its file. `encoded_items` replace an empty list of items."""
    head = _encode(message)[1:-1]
    if encoded_items:
        head = head.replace(b'"items":[]', b'"items":[%b]' % b",".join(encoded_items), 1)
    return append_crc(b"%b%b" % (_FORMAT_PREFIX, head)) + b"\n"


def decode_message(data: bytes) -> Message:
    """Decode the content of a message's file; raises CorruptLine."""
    body = verify_crc(data.removesuffix(b"\n"))
    if not body.startswith(_FORMAT_PREFIX):
        raise CorruptLine("it isn't a message, or one of a later version")
    try:
        message = _decode_message(body + b"}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptLine(str(error)) from None
    if len(message.items) > 1:
        message = msgspec.structs.replace(message, items=[_copy_input(item) for item in message.items])
    return message


def _copy_input(item: MessageItem) -> MessageItem:
    """An input is decoded as a view of the whole message, which it would keep in memory."""
    own = item.input.copy()
    return item if own is item.input else msgspec.structs.replace(item, input=own)


class InboxListing:
    """The file names in the inbox at one moment, by the target instance."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_target: dict[str, list[str]] = {}
        for name in names:
            self._by_target.setdefault(target_in_name(name), []).append(name)

    def names_for(self, instance: str) -> list[str]:
        """Return the names of the messages that may be for this instance."""
        return [*self._by_target.get(hash_target(instance), ()), *self._by_target.get(BATCH, ())]

    @property
    def targets(self) -> frozenset[str]:
        """The hashes of all targets, and BATCH if there is a message for several."""
        return frozenset(self._by_target)

    @property
    def numbers(self) -> set[int]:
        """The numbers of all messages."""
        return {number_in_name(name) for names in self._by_target.values() for name in names}
