"""The commit of a cycle while it is built: records to write, and effects to have once these are on disk."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from durablecli.engine.event_size import estimate_size
from durablecli.engine.instance_cache import CachedEntity, CachedInstance
from durablecli.engine.instance_notes import NOT_NOTED, InstanceNote, make_note
from durablecli.engine.metrics import Counts
from durablecli.engine.remote_answers import ReportDone, TurnRequest
from durablecli.engine.remote_queues import TurnOffer
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, WorkKey
from durablecli.limits import MIB
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.reported_progress import ReportedProgress
from durablecli.replay.remote_work import RemoteTurn, TurnKey
from durablecli.replay.turn_log import OutputLine
from durablecli.store.history.spill_writer import SpillWriter
from durablecli.store.journal.commits import (
    Commit,
    ConsumedMessage,
    DeliveryWatermark,
    HistoryWrite,
    PurgedExecution,
    QuarantinedMessage,
)
from durablecli.telemetry.interface import EventSpan, ExecutionSpan

MAX_COMMIT_RECORDS = 4_096
MAX_COMMIT_BYTES = 8 * MIB
_QUARANTINED_MESSAGE_SIZE = 1_000
"""Roughly what a quarantined message takes besides its payload, which is seldom large."""
_MIN_DECISIONS_TO_MEASURE = 64
"""A turn with fewer decisions, and no input of 64 KiB or more, is not measured."""


class LogLine(NamedTuple):
    """A log line about an instance, emitted once the commit is on disk; its logger is `durablecli.` and `name`."""

    name: str
    level: int
    text: str
    arguments: tuple[Any, ...]
    fields: dict[str, str]
    """What the line says, for log.format json."""


class TurnOutput(NamedTuple):
    """What an orchestrator has printed and logged in one turn."""

    instance: str
    execution: str
    name: str
    lines: list[OutputLine]


class CommitBuilder:
    """The commit of one cycle. Once it `is_full`, what is left waits for the next one."""

    _spill_writer: SpillWriter | None = None
    _spill_over = sys.maxsize

    def __init__(self, commit_number: int, epoch: int, at: datetime, noted: frozenset[type] = NOT_NOTED) -> None:
        self.commit_number = commit_number
        self.execution = f"{commit_number:x}"
        self.commit = Commit(commit_number, epoch, at, [])
        self.at = at
        self.size = self.record_count = self.turn_count = 0
        self.counts: Counts = defaultdict(int)
        """What has happened in this cycle, for the metrics."""
        self.cycle_seconds = self.decided_at = 0.0
        """How long the cycle took, and when it ended by the monotonic clock."""
        self.changed: dict[str, CachedInstance | CachedEntity] = {}
        self.runnable_entities: dict[str, CachedEntity] = {}
        """The entities that may have operations to run."""
        self.activity_tasks: list[ActivityTask] = []
        self.entity_batch_tasks: list[EntityBatchTask] = []
        self.abandoned_batches: list[tuple[str, str, int]] = []
        """Batches whose results will be ignored; the next batch of the same entity may start in this commit."""
        self.terminated_executions: list[tuple[str, str, str]] = []
        """Executions that were terminated; their calls are cancelled."""
        self.cancelled_calls: list[WorkKey] = []
        """Calls of activities that orchestrators have cancelled; some of them may be scheduled in this commit."""
        self.ended_executions: list[tuple[str, str, frozenset[int]]] = []
        """Executions that have ended by themselves, with the decisions of calls to be cancelled."""
        self.spans: list[ExecutionSpan | EventSpan] = []
        """The spans of traced executions that have ended, and of events."""
        self.log_lines: list[LogLine | OutputLine | InstanceNote] = []
        self._noted = noted
        self.progress: dict[str, tuple[str, ReportedProgress]] = {}
        """The progress that turns have reported: by instance, with the execution."""
        self.turn_outputs: list[TurnOutput] = []
        """Those of the lines that orchestrators have printed and logged, for the logs of their instances."""
        self.released_ids: list[tuple[str, str]] = []
        """Reservations of ids that are taken from now on, each with its message."""
        self.acks: list[Callable[[], None]] = []
        self.remote_offers: list[TurnOffer] = []
        """The remote turns that workers may request from now on."""
        self.remote_turns: list[tuple[TurnRequest, RemoteTurn]] = []
        """The remote turns that are prepared for workers."""
        self.settled_turns: list[tuple[TurnKey, bool]] = []
        """The remote turns that are over, each with whether an answer was recorded."""
        self.remote_acks: list[tuple[ReportDone, str | None]] = []
        """The acknowledgements of workers' answers, each with the reason if the answer had no effect."""
        self.reserved_ids: list[tuple[str, str]] = []
        """Ids that were reserved for this commit, each with its message."""
        self.visited: list[str] = []
        """The ready instances that the cycle has visited."""
        self.adopted: list[str] = []
        """The instances and entities that the cycle has restored because a driven instance needs them."""
        self.completed_turns: list[str] = []
        """The instances whose last turn a crash had cut off, and this commit completes."""

    @property
    def is_full(self) -> bool:
        return self.record_count >= MAX_COMMIT_RECORDS or self.size >= MAX_COMMIT_BYTES

    @property
    def is_half_full(self) -> bool:
        return self.record_count >= MAX_COMMIT_RECORDS // 2 or self.size >= MAX_COMMIT_BYTES // 2

    def can_hold(self, records: list[ev.Record]) -> bool:
        """Whether the records of a whole turn, and the arrivals they cause elsewhere, fit into this commit."""
        room = MAX_COMMIT_BYTES - self.size
        if room > MAX_COMMIT_BYTES // 2 and len(records) < _MIN_DECISIONS_TO_MEASURE:
            for record in records:
                if estimate_size(record.event) >= 65_536:
                    break
            else:
                return True
        if self.record_count + 2 * len(records) > 2 * MAX_COMMIT_RECORDS:
            return False
        return sum(estimate_size(record.event) for record in records) <= room

    def has_room_for_slice(self, deliveries: int) -> bool:
        """Whether one more decision of a split turn fits, where each of these deliveries adds a record too."""
        if self.is_full or self.record_count + deliveries >= 2 * MAX_COMMIT_RECORDS:
            return False
        return deliveries * 2 <= MAX_COMMIT_RECORDS or self.record_count <= MAX_COMMIT_RECORDS // 2

    @property
    def is_empty(self) -> bool:
        commit = self.commit
        return not (commit.writes or commit.consumed or commit.purged or commit.quarantined or commit.delivered)

    @property
    def has_effects(self) -> bool:
        """Whether an empty commit still has effects, once those before it are on disk."""
        return bool(
            self.activity_tasks
            or self.entity_batch_tasks
            or self.terminated_executions
            or self.ended_executions
            or self.log_lines
            or self.acks
            or self.remote_offers
            or self.remote_turns
            or self.settled_turns
            or self.remote_acks
            or self.released_ids
        )

    def spill(self, writer: SpillWriter, over: int) -> None:
        """Have the records of more than `over` bytes written to files of their own."""
        self._spill_writer, self._spill_over = writer, over

    def record(self, instance: CachedInstance | CachedEntity, record: ev.Record) -> None:
        """Add one record of an instance, and fold it into the runtime state."""
        data = codec.encode_record(record, instance.seed)
        size = len(data) + 1
        state = instance.runtime_state
        if type(record.event) in self._noted and (note := make_note(instance, record)) is not None:
            self.log_lines.append(note)
        state.apply(record)
        if size > self._spill_over and self._spill_writer is not None:
            data = self._spill_writer.add(data, instance.id, state.execution, self.commit_number, instance.seed).line
            size += len(data) + 1
        state.size += size
        write = instance.write
        if write is not None and instance.write_commit == self.commit_number:
            write.lines.append(data)
        else:
            fresh = type(record.event) is ev.EntitySnapshot
            instance.write = write = HistoryWrite(instance.id, state.execution, record.n, [data], rewrites_file=fresh)
            instance.write_commit = self.commit_number
            instance.unpublished.append((self.commit_number, write))
            self.commit.writes.append(write)
            self.changed[instance.id] = instance
        self.size += size
        self.record_count += 1

    def concerns(self, instance: str) -> bool:
        """Whether this commit changes or purges the history of an instance."""
        return instance in self.changed or any(each.instance == instance for each in self.commit.purged)

    def mark_continued(self, instance: CachedInstance, continues: bool) -> None:
        """Note whether an instance's turn continues in the next commit."""
        if instance.write is not None and instance.write_commit == self.commit_number:
            instance.write.continues = continues

    def purge(self, instance: CachedInstance | CachedEntity) -> None:
        """Purge an instance; what this commit was about to write of it is dropped."""
        self.commit.purged.append(PurgedExecution(instance.id, instance.runtime_state.execution))
        self.changed.pop(instance.id, None)

    def purge_quarantined(self, id: str, execution: str) -> None:
        """Purge a quarantined instance, with what is kept for it."""
        self.commit.purged.append(PurgedExecution(id, execution))
        self.mark_delivered(id, self.commit_number)

    def quarantine_message(self, message: QuarantinedMessage) -> None:
        """Keep what was sent to a quarantined instance."""
        self.commit.quarantined.append(message)
        self.size += _QUARANTINED_MESSAGE_SIZE
        self.record_count += 1

    def mark_delivered(self, id: str, upto: int) -> None:
        """Note that this commit delivers what commits up to `upto` have kept for an instance."""
        self.commit.delivered.append(DeliveryWatermark(id, upto))

    def finish(self) -> Commit:
        """The commit to write, without the records of instances that it purges."""
        commit = self.commit
        if commit.purged:
            purged = {(each.instance, each.execution) for each in commit.purged}
            commit.writes = [each for each in commit.writes if (each.instance, each.execution) not in purged]
        return commit

    def settle_remote_turn(self, key: TurnKey, done: ReportDone) -> None:
        """Note that the answer to a remote turn is recorded, and tell the worker once that is on disk."""
        self.settled_turns.append((key, True))
        self.remote_acks.append((done, None))

    def consume(self, message: str, upto: int | None = None) -> None:
        self.commit.consumed.append(ConsumedMessage(message, upto))
