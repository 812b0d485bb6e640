"""Deduplication after a repair: operations that senders may decide again because their histories were truncated.

Invariant: an operation is applied once, also if its sender has forgotten that it was sent.

The repair finds these operations in the logs of the entities, and started children in their own histories. When a
sender decides on one of them again, the engine delivers the known outcome instead of the operation, or adopts the
existing child. Record numbers may differ then, so an operation is identified by its entity, name and input, and a child
by its name and input, each as often as it occurred.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.store.disk import Disk
from durablecli.store.layout import TRUNCATED_SENDERS_FILE
from durablecli.store.list_file import read_list, write_list


class AppliedEntityOperation(msgspec.Struct, omit_defaults=True):
    """An operation that was applied, and its outcome; with neither result nor failure the outcome is unknown, or nobody
    waited for it."""

    entity: str
    name: str
    input: Raw
    result: Raw = ev.ABSENT
    failure: Failure | None = None


class StartedChild(msgspec.Struct):
    """A sub-orchestration that was started."""

    instance: str
    name: str
    input: Raw


class TruncatedSender(msgspec.Struct, omit_defaults=True):
    """A sender whose history was truncated after record `last`.

    The logs of the entities in `upto` don't go back far enough; they have applied operations up to that record of the
    sender.
    """

    instance: str
    execution: str
    last: int
    operations: list[AppliedEntityOperation] = []
    children: list[StartedChild] = []
    upto: dict[str, int] = {}


_decode = msgspec.json.Decoder(list[TruncatedSender]).decode


def read_truncated_senders(disk: Disk, root: str) -> dict[str, TruncatedSender]:
    """Read the list, by instance; empty if it can't be read."""
    return {each.instance: each for each in read_list(disk, f"{root}/{TRUNCATED_SENDERS_FILE}", _decode)}


def write_truncated_senders(disk: Disk, root: str, senders: Iterable[TruncatedSender]) -> None:
    """Replace the list, durably."""
    write_list(disk, f"{root}/{TRUNCATED_SENDERS_FILE}", list(senders))
