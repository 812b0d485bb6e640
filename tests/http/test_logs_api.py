"""The logs of instances and entities by HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durablecli.model.log_entry import LogEntry
from durablecli.store.disk import LocalDisk
from durablecli.store.logs.log_writer import LogWriter
from tests.http.conftest import BASE, RunningServer

AT = datetime(2026, 11, 29, 9, tzinfo=UTC)


def write_log(served: RunningServer, id: str, count: int) -> list[LogEntry]:
    entries = [
        LogEntry(AT + timedelta(seconds=n), "INFO", f"line {n}", "activity", "shout", n, 1, "1", stream="stdout")
        for n in range(count)
    ]
    LogWriter(LocalDisk(), served.client.root, 1 << 20, print).append(id, entries)
    return entries


def test_the_last_entries_of_an_instance(served: RunningServer) -> None:
    id = served.start_instance("echo", 1)
    served.client.wait(id, 20)
    assert served.http.get(f"{BASE}/instances/{id}/logs").json() == []
    write_log(served, id, 150)
    found = served.http.get(f"{BASE}/instances/{id}/logs").json()
    assert [entry["text"] for entry in found] == [f"line {n}" for n in range(50, 150)]
    assert found[0] == {
        "at": "2026-11-29T09:00:50Z",
        "level": "INFO",
        "text": "line 50",
        "source": "activity",
        "name": "shout",
        "id": 50,
        "attempt": 1,
        "execution": "1",
        "stream": "stdout",
    }
    assert len(served.http.get(f"{BASE}/instances/{id}/logs?tail=3").json()) == 3
    assert len(served.http.get(f"{BASE}/instances/{id}/logs?activity=7").json()) == 1
    assert len(served.http.get(f"{BASE}/instances/{id}/logs?activity=shout&tail=1000").json()) == 150
    assert served.http.get(f"{BASE}/instances/{id}/logs?activity=other").json() == []


def test_the_log_of_an_entity(served: RunningServer) -> None:
    assert served.http.post(f"{BASE}/entities/counter/log?op=add", json=1).status_code == 202
    write_log(served, "@counter@log", 2)
    assert len(served.http.get(f"{BASE}/entities/counter/log/logs").json()) == 2


def test_requests_that_are_refused(served: RunningServer) -> None:
    assert served.http.get(f"{BASE}/instances/nobody/logs").status_code == 404
    assert served.http.get(f"{BASE}/instances/@counter@log/logs").status_code == 404
    assert served.http.get(f"{BASE}/entities/counter/unknown/logs").status_code == 404
    assert served.http.get(f"{BASE}/entities/a@b/c/logs").status_code == 400
    id = served.start_instance("echo", 1)
    assert served.http.get(f"{BASE}/instances/{id}/logs?tail=0").status_code == 400
    assert served.http.post(f"{BASE}/instances/{id}/logs").status_code == 404
