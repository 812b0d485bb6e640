"""What must hold after a load in two languages with kills: of outputs, histories, entities, and runs of activities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from durablecli import Client
from durablecli.client import Query
from durablecli.model import events as ev
from tests.sdk.load_client import Collector, Ledgers, LoadClient
from tests.sdk.load_programs import PROGRAMS, SECTIONS, SIGNALS, check_decisions


class Kill(NamedTuple):
    """A process that was killed, between two moments in microseconds. `pid` is 0 for the daemon."""

    pid: int
    before: int
    after: int


class Run(NamedTuple):
    """A run of an activity has begun."""

    pid: int
    at: int


class Call(NamedTuple):
    """A scheduled activity, with the moment of its outcome."""

    at: int
    settled: int


ActivityId = tuple[str, int, int]
"""Instance, number of the call as its worker sees it, and input."""


class LoadChecks:
    """The checks of a hub in which everything has ended."""

    def __init__(self, client: Client, load: LoadClient, runs: Iterable[list[str]], kills: list[Kill]) -> None:
        self._client = client
        self._load = load
        self._kills = kills
        self._runs: dict[ActivityId, list[Run]] = defaultdict(list)
        for word, instance, task, value, pid, at in runs:
            if word == "begin":
                self._runs[instance, int(task), int(value)].append(Run(int(pid), int(at)))
        self._ids = set(client.iter_ids(Query()))
        self._expected = load.started | {id: what for id, what in load.unsure.items() if id in self._ids}
        for name, given in self._expected.values():
            if name in SIGNALS:
                for entity in ("ledger", "jsledger"):
                    load.ledgers.add(f"@{entity}@{given['key']}", given["token"])
        self.counts: Counter[str] = Counter()

    @property
    def all_tokens_arrived(self) -> bool:
        """Whether the entities have applied all that was sent to them."""
        return all(sent <= set(self._tokens(entity)) for entity, sent in self._load.ledgers.sent.items())

    def check_all(self) -> None:
        """Check everything, and count."""
        assert self._load.started.keys() <= self._ids, "an acknowledged start is lost"
        sections: dict[str, list[list[int]]] = defaultdict(list)
        for instance, (name, given) in self._expected.items():
            output = self._output(instance)
            if name in SECTIONS:
                sections[given].append(output)
            elif instance in self._load.collectors:
                check_collected(self._load.collectors[instance], output)
            else:
                assert output == PROGRAMS[name].output(given), (instance, name, given, output)
        for outputs in sections.values():
            assert sorted(outputs) == [[n, n] for n in range(len(outputs))], "critical sections have overlapped"
        children = [child for instance in self._ids for child in self._check_history(instance)]
        assert len(children) == len(set(children))
        assert set(children) | self._expected.keys() == self._ids, "a child was lost, or started twice"
        self._check_ledgers(self._load.ledgers)
        self.counts.update(
            {
                "acknowledged starts": len(self._load.started),
                "unacknowledged starts that have run": len(self._expected) - len(self._load.started),
                "children": len(children),
                "acknowledged events": self._load.events,
                "acknowledged signals": self._load.signals,
                "critical sections": sum(map(len, sections.values())),
            }
        )

    def _output(self, instance: str) -> Any:
        status = self._client.get_status(instance)
        assert status.status_name == "Completed", (instance, status)
        return status.output

    def _check_history(self, instance: str) -> list[str]:
        """Check what an instance has decided, and how often its activities ran. Return its children."""
        records = self._client.get_history(instance)
        started = records[0].event
        assert isinstance(started, ev.ExecutionStarted)
        check_decisions(started.name, msgspec.json.decode(started.input), [record.event for record in records])
        self.counts["instances"] += 1
        self._check_runs(instance, records)
        created = [one.event for one in records if isinstance(one.event, ev.SubOrchestrationInstanceCreated)]
        for child in created:
            origin = self._client.get_history(child.instance)[0].event
            assert isinstance(origin, ev.ExecutionStarted)
            assert origin.parent is not None
            assert origin.parent.instance == instance
        return [child.instance for child in created]

    def _check_runs(self, instance: str, records: list[ev.Record]) -> None:
        """An activity runs again only for a kill between its decision and its outcome: of the daemon, or of a worker
        that has begun it."""
        settled = {
            record.event.task: _microseconds(record)
            for record in records
            if isinstance(record.event, ev.TaskCompleted | ev.TaskFailed)
        }
        calls: dict[ActivityId, list[Call]] = defaultdict(list)
        for record in records:
            if isinstance(event := record.event, ev.TaskScheduled):
                task = record.n if event.id is None or event.name.startswith("local") else event.id
                key = (instance, task, msgspec.json.decode(event.input))
                calls[key].append(Call(_microseconds(record), settled[record.n]))
        for key, scheduled in calls.items():
            runs = self._runs.get(key, [])
            assert len(runs) >= len(scheduled), f"{key} was never run"
            self.counts["activities"] += len(scheduled)
            self.counts["runs again"] += (again := len(runs) - len(scheduled))
            begin, end = min(call.at for call in scheduled), max(call.settled for call in scheduled)
            pids = {run.pid for run in runs} | {0}
            hits = [kill for kill in self._kills if kill.pid in pids and kill.after >= begin and kill.before <= end]
            self.counts["activities in flight at kills"] += len(hits)
            assert again <= len(hits), f"{key} ran {again} times more than decided, with {len(hits)} kills meanwhile"

    def _check_ledgers(self, ledgers: Ledgers) -> None:
        for entity in ledgers.sent.keys() | ledgers.unsure.keys():
            sent, unsure = ledgers.sent.get(entity, set()), ledgers.unsure.get(entity, set())
            tokens = self._tokens(entity)
            assert len(set(tokens)) == len(tokens), f"{entity} has applied an operation twice"
            assert sent <= set(tokens), f"{entity} lacks acknowledged operations"
            assert set(tokens) <= sent | unsure
            self.counts["tokens in entities"] += len(tokens)

    def _tokens(self, entity: str) -> list[int]:
        state = self._client.read_entity_state(entity).entity_state
        tokens: list[int] = [] if state is None else state["tokens"] if isinstance(state, dict) else state
        return tokens


def check_collected(collector: Collector, output: list[int]) -> None:
    """Check that a collector has got what was acknowledged, once each, as far as it has waited for it."""
    assert len(set(output)) == len(output) == collector.wanted
    assert set(output) <= {*collector.sent, *collector.unsure}
    unread = set(collector.sent) - set(output)
    assert len(unread) == len(collector.sent) - collector.wanted + len(set(output) & set(collector.unsure))
    assert [token for token in output if token in collector.sent] == collector.sent[: len(collector.sent) - len(unread)]


def _microseconds(record: ev.Record) -> int:
    return round(record.at.timestamp() * 1_000_000)
