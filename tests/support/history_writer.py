"""Writes histories as an engine would, so that readers have something to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from durablecli.model import codec
from durablecli.model.events import AnyEvent, Record
from durablecli.store import hub as hubs
from durablecli.store.inbox.messages import Message
from durablecli.store.journal.commits import Commit, ConsumedMessage, HistoryWrite
from durablecli.store.recovery import summarize_history

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class HubWriter:
    """An open hub, and the commits that are written into it. Each record is a second later than the one before."""

    def __init__(self, hub: hubs.Hub) -> None:
        self.hub = hub
        self._lines: dict[tuple[str, str], list[bytes]] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._at = NOON

    def write(
        self,
        instance: str,
        *events: AnyEvent,
        execution: str = "1",
        consumed: list[Message] | None = None,
        rewrite_file: bool = False,
        at: datetime | None = None,
    ) -> None:
        """One commit with these records of one instance; with `fresh` the file of an entity begins anew with them.

        Without `at`, they follow the last ones that were written.
        """
        self._at = at or self._at
        first = self._next.get((instance, execution), 1)
        lines = [self._line(instance, execution, n, event) for n, event in enumerate(events, first)]
        self._next[instance, execution] = first + len(lines)
        if rewrite_file:
            self._lines[instance, execution] = []
        all_lines = self._lines.setdefault((instance, execution), [])
        all_lines += lines
        self.hub.last_commit += 1
        write = HistoryWrite(instance, execution, first, lines, rewrites_file=rewrite_file)
        messages = [ConsumedMessage(message.message) for message in consumed or ()]
        commit = Commit(self.hub.last_commit, self.hub.epoch, self._at, [write], messages)
        self.hub.journal.append([commit])
        self.hub.history_writer.publish([write])
        row = summarize_history(self.hub.disk, self.hub.root, instance, execution, all_lines)
        self.hub.index.update([row], [], commit.c)
        self.hub.inbox.remove(message.message for message in consumed or ())

    def _line(self, instance: str, execution: str, n: int, event: AnyEvent) -> bytes:
        self._at += timedelta(seconds=1)
        return codec.encode_record(Record(n, self._at, event), codec.crc_seed(instance, execution))


@contextmanager
def open_hub_writer(root: str | Path) -> Iterator[HubWriter]:
    """Open the hub as the engine does, and close it as a clean shutdown does."""
    hub = hubs.open_hub(str(root))
    try:
        yield HubWriter(hub)
    finally:
        hubs.close_hub(hub)
