"""The bare loop that every figure stands beside: the least Python program that does the work of hello5 durably.

`python bare_loop.py BATCH FOLDER` starts an instance for each line of a batch, as a daemon does after `start --batch`,
leaves a journal, a history per instance and an index in the folder, and prints the seconds and CPU seconds of its loop.
It advances the author's generator, encodes each decision and each result as a record with its crc, writes the records
of a cycle as one commit, syncs, and only then hands the activities to their thread. No more than `UNDER_WAY` instances
run at a time. A history is written once, when its instance has ended, and the index by a thread of its own. The bytes
are those of durablecli, but nothing is checked, no error is handled, nothing is replayed, cancelled, found again after
a crash, or answered to a client.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from time import perf_counter, process_time
from typing import Any, NamedTuple
from uuid import uuid4
from zlib import crc32

import msgspec
from msgspec import Raw

UNDER_WAY = 200
ROWS_PER_BATCH = 1_000
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE instances(entity INT, id TEXT, name TEXT, status TEXT, execution TEXT, parent TEXT, version TEXT,
  created INT, updated INT, records INT, bytes INT, next_due INT, owes INT, waiting TEXT, blocked TEXT,
  blocked_at INT, locked_by TEXT, queued INT, failure TEXT, tags TEXT, PRIMARY KEY(entity, id)) WITHOUT ROWID;
CREATE INDEX by_created ON instances(entity, created, id, parent, tags);
CREATE INDEX by_status ON instances(entity, status, created, id, parent, tags);
CREATE INDEX by_name ON instances(entity, name, created, id);
CREATE INDEX children ON instances(parent, created, id) WHERE parent IS NOT NULL;
CREATE INDEX due ON instances(next_due, id) WHERE next_due IS NOT NULL;
CREATE INDEX owing ON instances(id) WHERE owes;
CREATE INDEX locked ON instances(id) WHERE locked_by IS NOT NULL;
"""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    pass


class ExecutionStarted(Event, frozen=True):
    instance: str
    execution: str
    name: str
    input: Raw
    message: str


class TaskScheduled(Event, frozen=True):
    name: str
    input: Raw


class TaskCompleted(Event, frozen=True):
    task: int
    result: Raw


class ExecutionCompleted(Event, frozen=True):
    status: str
    result: Raw


class Call(NamedTuple):
    """An activity to run: its function and its encoded input, for the instance that waits for it."""

    instance: Instance
    function: Callable[[Any], Any]
    input: bytes


class Result(NamedTuple):
    instance: Instance
    result: bytes


class Context:
    """What the author's function is given."""

    def call_activity(self, function: Callable[[Any], Any], input_: object) -> tuple[Callable[[Any], Any], bytes]:
        return function, encode(input_)


class Instance:
    """An instance under way: its generator, its whole history, and which of its lines the next commit begins with."""

    __slots__ = ("committed", "created", "execution", "generator", "id", "lines", "seed")

    def __init__(self, id_: str, execution: str, created: datetime) -> None:
        self.id = id_
        self.execution = execution
        self.created = created
        self.seed = crc32(f"{id_}\0{execution}".encode())
        self.generator = hello5(Context())
        self.lines: list[bytes] = []
        self.committed = 0

    def record(self, at: bytes, event: Event) -> None:
        body = b'{"n":%d,"at":"%b",%b' % (len(self.lines) + 1, at, encode(event)[1:-1])
        self.lines.append(b'%b,"crc":"%08x"}' % (body, crc32(body, self.seed)))


def hello(city: str) -> str:
    return f"Hello {city}!"


def hello5(context: Context) -> Generator[Any, Any, list[str]]:
    said = []
    for city in ("Tokyo", "Seattle", "London", "Paris", "Lima"):
        said.append((yield context.call_activity(hello, city)))
    return said


class BareLoop:
    """The loop, and the files in its folder."""

    def __init__(self, folder: str) -> None:
        self.histories = f"{folder}/instances"
        os.makedirs(self.histories)
        self.journal = os.open(f"{folder}/journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.shards: set[str] = set()
        self.commit_number = 0
        self.calls: SimpleQueue[list[Call] | None] = SimpleQueue()
        self.results: SimpleQueue[list[Result]] = SimpleQueue()
        self.rows: SimpleQueue[list[tuple[object, ...]] | None] = SimpleQueue()
        self.threads = [
            Thread(target=run_activities, args=(self.calls, self.results)),
            Thread(target=write_index, args=(f"{folder}/index.sqlite", self.rows)),
        ]

    def run(self, starts: Iterable[tuple[str, bytes]]) -> None:
        for thread in self.threads:
            thread.start()
        waiting = iter(starts)
        under_way = 0
        results: list[Result] = []
        rows: list[tuple[object, ...]] = []
        while True:
            calls, ended, turned = self.run_cycle(results, waiting, UNDER_WAY - under_way)
            if not turned:
                break
            under_way += len(turned) - len(results) - len(ended)
            self.commit(turned)
            self.calls.put(calls)
            for instance in ended:
                self.write_history(instance)
                rows.append(make_row(instance))
            if len(rows) >= ROWS_PER_BATCH:
                self.rows.put(rows)
                rows = []
            results = self.take_results() if under_way else []
        self.rows.put(rows)
        self.rows.put(None)
        self.calls.put(None)
        for thread in self.threads:
            thread.join()
        os.close(self.journal)

    def run_cycle(
        self, results: list[Result], waiting: Iterator[tuple[str, bytes]], room: int
    ) -> tuple[list[Call], list[Instance], list[Instance]]:
        """Apply results and begin instances; the activities to run, the instances that ended, and all with a turn."""
        self.at = datetime.now(UTC)
        self.stamp = stamp = (self.at.isoformat("T", "microseconds")[:26] + "Z").encode()
        self.commit_number += 1
        calls: list[Call] = []
        ended: list[Instance] = []
        turned: list[Instance] = []
        for instance, result in results:
            instance.record(stamp, TaskCompleted(len(instance.lines), Raw(result)))
            turned.append(instance)
            self.advance(instance, decode(result), calls, ended)
        room += len(ended)
        for _ in range(room):
            start = next(waiting, None)
            if start is None:
                break
            id_, input_ = start
            instance = Instance(id_, f"{self.commit_number:x}", self.at)
            begun = ExecutionStarted(
                id_, instance.execution, "hello5", Raw(input_), "m-2119c62e21554ee3adf0650dafe598f9"
            )
            instance.record(stamp, begun)
            turned.append(instance)
            self.advance(instance, None, calls, ended)
        return calls, ended, turned

    def advance(self, instance: Instance, value: object, calls: list[Call], ended: list[Instance]) -> None:
        try:
            function, input_ = instance.generator.send(value)
        except StopIteration as stop:
            instance.record(self.stamp, ExecutionCompleted("Completed", Raw(encode(stop.value))))
            ended.append(instance)
        else:
            instance.record(self.stamp, TaskScheduled(function.__name__, Raw(input_)))
            calls.append(Call(instance, function, input_))

    def commit(self, turned: list[Instance]) -> None:
        """Write what the cycle recorded as one line, and sync it."""
        writes = []
        for each in turned:
            first = each.committed
            each.committed = len(each.lines)
            writes.append(
                b'{"instance":%b,"execution":"%b","first":%d,"records":[%b]}'
                % (encode(each.id), each.execution.encode(), first + 1, b",".join(each.lines[first:]))
            )
        number = self.commit_number
        body = b'{"c":%d,"epoch":1,"at":"%b","writes":[%b],"after":%d' % (
            number,
            self.stamp,
            b",".join(writes),
            number - 1,
        )
        os.write(self.journal, b'%b,"crc":"%08x"}\n' % (body, crc32(body)))
        os.fdatasync(self.journal)

    def take_results(self) -> list[Result]:
        """Wait for results, and take all there are."""
        found = self.results.get()
        while not self.results.empty():
            found += self.results.get()
        return found

    def write_history(self, instance: Instance) -> None:
        shard = f"{self.histories}/{crc32(instance.id.encode()) & 0xFF:02x}"
        if shard not in self.shards:
            os.mkdir(shard, 0o700)
            self.shards.add(shard)
        file = os.open(f"{shard}/{instance.id}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(file, b"\n".join((*instance.lines, b"")))
        os.close(file)


def run_activities(calls: SimpleQueue[list[Call] | None], results: SimpleQueue[list[Result]]) -> None:
    while (batch := calls.get()) is not None:
        results.put([Result(instance, encode(function(decode(input_)))) for instance, function, input_ in batch])


def make_row(each: Instance) -> tuple[object, ...]:
    created = int(each.created.timestamp() * 1e6)
    size = sum(map(len, each.lines)) + len(each.lines)
    head = (0, each.id, "hello5", "Completed", each.execution, None, None, created, created)
    return *head, len(each.lines), size, None, 0, None, None, None, None, 0, None, None


def write_index(path: str, batches: SimpleQueue[list[tuple[object, ...]] | None]) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -32768")
    db.executescript(f"BEGIN; {SCHEMA} COMMIT")
    while (rows := batches.get()) is not None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(f"INSERT OR REPLACE INTO instances VALUES({', '.join('?' * 20)})", rows)
        db.execute("COMMIT")
    db.close()


def read_starts(batch: str) -> Iterator[tuple[str, bytes]]:
    """The ids and inputs of a batch, a line each."""
    name = uuid4().hex
    with open(batch, "rb") as file:
        for index, line in enumerate(file):
            yield f"{name}-{index}", line.rstrip()


if __name__ == "__main__":
    gc.set_threshold(100_000, 10, 10)  # as the daemon does
    began = perf_counter(), process_time()
    BareLoop(sys.argv[2]).run(read_starts(sys.argv[1]))
    print(perf_counter() - began[0], process_time() - began[1])
