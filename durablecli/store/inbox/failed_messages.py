"""Failed messages: handling one failed unexpectedly, so it is kept away from the engine until a repair.

`inbox/failed/` holds the message under its name (a batch with its parts), and next to it `<name>.error`, with the error
and the number of attempts. `durable doctor` shows them; a repair retries each once, and then moves one that
has failed again to `damaged/`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec

from durablecli.model.codec import CorruptLine
from durablecli.store.disk import Disk
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.json_lines import decode_line, encode_line
from durablecli.store.layout import FAILED_MESSAGES_FOLDER, NEW_MESSAGES_FOLDER

_ERROR_SUFFIX = ".error"
_MAX_TRIES = 2


class MessageFailure(msgspec.Struct, frozen=True):
    """Why a message failed. `tries` counts the attempts to handle it."""

    at: datetime
    kind: str
    instances: list[str]
    error: str
    tries: int = 1

    @property
    def is_final(self) -> bool:
        """Whether another attempt is useless: the message has failed again after a repair."""
        return self.tries >= _MAX_TRIES


_decode = msgspec.json.Decoder(MessageFailure).decode


class FailedMessages:
    """The folder `inbox/failed`. The engine moves messages there; a repair, without an engine, takes them out."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._new = f"{root}/{NEW_MESSAGES_FOLDER}"
        self._folder = f"{root}/{FAILED_MESSAGES_FOLDER}"

    def move_from_inbox(self, name: str, message: Message, items: list[MessageItem], at: datetime, error: str) -> None:
        """Move a message's file, and the parts of a batch, out of the inbox; durable on return."""
        self._write_failure(
            name, MessageFailure(at, message.kind, [item.target for item in items], error, self._count_tries(name) + 1)
        )
        stem = name.removesuffix(".json")
        for other in self._disk.listdir(self._new) if message.parts else ():
            if other.startswith(f"{stem}.") and other.endswith(".part"):
                self._disk.rename(f"{self._new}/{other}", f"{self._folder}/{other}")
        self._disk.rename(f"{self._new}/{name}", f"{self._folder}/{name}")
        self._disk.sync_folder(self._folder)
        self._disk.sync_folder(self._new)

    def store(self, name: str, data: bytes, message: Message, at: datetime, error: str) -> None:
        """Store a message that has no file of its own (one item of a batch); durable on return."""
        if self._disk.exists(f"{self._folder}/{name}"):
            return
        self._write_failure(name, MessageFailure(at, message.kind, [item.target for item in message.items], error))
        self._disk.create(f"{self._folder}/{name}", data, sync=True)
        self._disk.sync_folder(self._folder)

    def _write_failure(self, name: str, failure: MessageFailure) -> None:
        self._disk.make_folder(self._folder)
        self._disk.replace(f"{self._folder}/{name}{_ERROR_SUFFIX}", encode_line(failure))

    def _count_tries(self, name: str) -> int:
        why = self.read_failure(name)
        return why.tries if why is not None else 0

    def names(self) -> list[str]:
        """Return the names of the failed messages, in the order in which they were posted."""
        return sorted(name for name in self._disk.listdir(self._folder) if name.endswith(".json"))

    def retried_names(self) -> set[str]:
        """Return the names of the messages that a repair has put back into the inbox."""
        names = set(self._disk.listdir(self._folder))
        return {name.removesuffix(_ERROR_SUFFIX) for name in names if name.endswith(_ERROR_SUFFIX)} - names

    def read_failure(self, name: str) -> MessageFailure | None:
        """Read why a message failed that is still here, or that a repair has put back; None if unknown."""
        try:
            return decode_line(self._disk.read(f"{self._folder}/{name}{_ERROR_SUFFIX}"), _decode)
        except (FileNotFoundError, CorruptLine):
            return None

    def retry(self, name: str) -> None:
        """Move a message back to the inbox. The record of its failure stays, to count the attempts."""
        stem = name.removesuffix(".json")
        for other in self._disk.listdir(self._folder):
            if other.startswith(f"{stem}.") and other.endswith(".part"):
                self._disk.rename(f"{self._folder}/{other}", f"{self._new}/{other}")
        self._disk.rename(f"{self._folder}/{name}", f"{self._new}/{name}")
        self._disk.sync_folder(self._new)
        self._disk.sync_folder(self._folder)

    def move_away(self, name: str, folder: str) -> None:
        """Move a message that failed again to another folder, where no engine looks."""
        self._disk.make_folder(folder)
        stem = name.removesuffix(".json")
        for other in self._disk.listdir(self._folder):
            if other.startswith(f"{stem}."):
                self._disk.rename(f"{self._folder}/{other}", f"{folder}/{other}")
        self._disk.sync_folder(folder)
        self._disk.sync_folder(self._folder)

    def forget_failure(self, name: str) -> None:
        """Remove the record of a failure: the message was handled after all."""
        with suppress(FileNotFoundError):
            self._disk.unlink(f"{self._folder}/{name}{_ERROR_SUFFIX}")
