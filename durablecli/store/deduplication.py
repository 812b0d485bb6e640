"""Deduplication after a repair: what senders may decide again because their histories were truncated.

Invariant: an operation is applied once, also if its sender has forgotten that it was sent.

The repair finds them in the logs of the entities, and in the histories of the children. When a sender decides on one
of them again, the engine delivers the outcome that is known instead of the operation, or takes the child that there is.
Numbers of records may differ then, so an operation is known by its entity, its name and its input, and a child by its
name and its input, each as often as there was one.
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
    """One operation that was applied, and what came of it; without either, nobody knows any more or waited."""

    entity: str
    name: str
    input: Raw
    result: Raw = ev.ABSENT
    failure: Failure | None = None


class StartedChild(msgspec.Struct):
    """One sub-orchestration that was started."""

    instance: str
    name: str
    input: Raw


class TruncatedSender(msgspec.Struct, omit_defaults=True):
    """One sender whose history was cut behind record `last`. Of entities in `upto` the log doesn't go back far enough;
    they have applied operations up to that record of the sender."""

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
