"""Reading the status of many instances reads the journal once, not once per instance."""

from __future__ import annotations

import pytest

import durablecli as df
from durablecli import testing
from durablecli.store import hub_reader
from durablecli.store.disk import Disk
from durablecli.store.journal.snapshot import JournalSnapshot, read_journal_snapshot


@df.orchestrator
def quick(context: df.DurableOrchestrationContext) -> int:
    value: int = context.get_input()
    return value


def test_reading_many_statuses_reads_the_journal_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    counted: list[int] = []

    def read_snapshot(disk: Disk, folder: str, last: int | None) -> JournalSnapshot:
        looks.append(folder)
        return read_journal_snapshot(disk, folder, last)

    monkeypatch.setattr(hub_reader, "read_journal_snapshot", read_snapshot)
    with testing.hub(quick) as hub:
        for count in (3, 30):
            for number in range(count):
                hub.client.start_new("quick", f"{count}-{number}", number)
            hub.run()
            looks.clear()
            found = hub.client.get_status_by(instance_id_prefix=f"{count}-")
            assert sorted(status.output for status in found) == list(range(count))
            counted.append(len(looks))
    assert counted[0] == counted[1]
