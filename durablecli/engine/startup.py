"""Startup: an engine continues what the hub holds before its first cycle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from durablecli.engine.committer import Committer
from durablecli.engine.instance_restorer import InstanceRestorer
from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.unexpected_errors import UnexpectedErrorHandler
from durablecli.engine.watchdog import format_block_reason, is_code_unchanged
from durablecli.model.entity_id import is_entity_id
from durablecli.store import deduplication
from durablecli.store.hang_report import HangReport
from durablecli.store.history.file import history_path
from durablecli.store.history.known_files import KnownFiles
from durablecli.store.hub import use_index
from durablecli.store.index import Index


class Startup:
    """Restores timers, instances with pending work, and quarantined instances that can be used again."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        message_handler: MessageHandler,
        committer: Committer,
        restorer: InstanceRestorer,
        unexpected_errors: UnexpectedErrorHandler,
    ) -> None:
        self._hub = shared.hub
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._timers = shared.timers
        self._scope = shared.scope
        self._deduplicator = shared.deduplicator
        self._turn_runner = turn_runner
        self._split_turn = turn_runner.split_turn
        self._blocker = turn_runner.blocker
        self._message_handler = message_handler
        self._committer = committer
        self._restorer = restorer
        self._unexpected_errors = unexpected_errors

    def run(self, hang_report: HangReport | None) -> list[str]:
        """Restore everything. Returns the instances and entities with pending work."""
        hub = self._hub
        self._instances.set_known_files(KnownFiles(hub.disk))
        self._committer.begin_cycle()
        self._scope.add_all_related()
        stored = use_index(hub, Index.due_times)
        self._timers.load([each for each in stored if each[1] in self._scope] if self._scope.root else stored)
        quarantined = hub.quarantine.take_all()
        busy = use_index(hub, lambda index: [*index.with_pending_work(), *index.locked_entities()])
        with_work = {*busy, *hub.incomplete_turns, *quarantined}
        if hang_report is not None and is_code_unchanged(format_block_reason(hang_report)):
            self._blocker.hang_report = hang_report
            with_work.add(hang_report.instance)
        self._load_deduplicator()
        self._quarantine_truncated()
        driven = [id for id in sorted(with_work) if id in self._scope or self._blocker.is_hung(id)]
        self._try_to_load([id for id in quarantined if id not in driven])
        self._restore_all(driven)
        with_messages = hub.quarantined_messages.instances()
        if with_messages:
            self._complete_turns()
        for id in with_messages:
            while not self._redeliver(id):
                pass
        return driven

    def _load_deduplicator(self) -> None:
        """Load which operations were applied before a repair truncated their senders' histories."""
        known = self._deduplicator
        known.load(deduplication.read_truncated_senders(self._hub.disk, self._hub.root).values())
        for sender in known.truncated_senders:
            if not is_entity_id(sender.instance):
                instance = self._instances.get(sender.instance)
                if instance is not None:
                    known.skip_decided(instance)
                elif not self._instances.is_quarantined(sender.instance):
                    known.forget_sender(sender.instance)
        known.begin_cycle()

    def _quarantine_truncated(self) -> None:
        """Quarantine instances whose files lack records that the index has seen; the files alone don't show that."""
        for id, (execution, records) in use_index(self._hub, Index.record_counts).items():
            if id not in self._scope:
                continue
            found = self._instances.get_entity(id) if is_entity_id(id) else self._instances.get(id)
            path = history_path(self._hub.root, id)
            if found is None:
                if not self._instances.is_quarantined(id):
                    self._instances.quarantine(id, f"{path} is missing")
            elif found.runtime_state.execution == execution and found.runtime_state.last_n < records:
                reason = f"{path} ends with record n {found.runtime_state.last_n}, and n {records} was written to it"
                self._instances.quarantine(id, f"{reason}; stop the engine and run `durable doctor --repair`")

    def _try_to_load(self, ids: Iterable[str]) -> None:
        """Find out which quarantined instances can be used again that aren't driven here."""
        for id in ids:
            if is_entity_id(id):
                self._instances.get_entity(id)
            else:
                self._instances.get(id)

    def _restore_all(self, ids: list[str]) -> None:
        """Restore instances, several in one commit. If one fails, those of its commit are restored again."""
        waiting, in_commit = deque(ids), list[str]()
        while waiting:
            id = waiting.popleft()
            in_commit.append(id)
            try:
                self._cycle.handling = id
                self._restorer.restore(id)
                self._cycle.handling = None
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._unexpected_errors.handle(error)
                waiting.extendleft(reversed(in_commit))
                in_commit = []
                self._committer.begin_cycle()
            if self._cycle.builder.is_full:
                self._committer.commit()
                in_commit = []
                self._committer.begin_cycle()
        self._committer.commit()

    def _complete_turns(self) -> None:
        """Complete turns that a crash cut off before quarantined messages are delivered. An arrival applied at once
        leaves no record that would change the numbers of decisions made again."""
        while self._turn_runner.has_runnable_work:
            self._committer.begin_cycle()
            try:
                self._turn_runner.run_ready()
            except Exception as error:  # noqa: BLE001 - it is contained, or raised again
                self._unexpected_errors.handle(error)
                continue
            if not self._committer.commit() and not self._split_turn.is_active:
                break

    def _redeliver(self, id: str) -> bool:
        """Deliver the messages of a quarantined instance. False if the rest has to be tried again, because something
        failed that is blocked or quarantined now."""
        self._committer.begin_cycle()
        try:
            self._cycle.handling = id
            for _ in self._message_handler.redeliver(id):
                if self._cycle.builder.is_full:
                    self._committer.commit()
                    self._committer.begin_cycle()
                self._cycle.handling = id
            self._cycle.handling = None
        except Exception as error:  # noqa: BLE001 - it is contained, or raised again
            self._unexpected_errors.handle(error)
            return False
        self._committer.commit()
        return True
