"""Handles an unexpected error: it costs one message, instance or entity, and the others continue.

The cycle is given up as if it had never begun: nothing of it is on disk, and nothing that it decided was done or
acknowledged. The commits before it are published first; so the cache can be dropped and read again, and the inputs of
the cycle are put back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.committer import Committer
from durablecli.engine.instance_restorer import InstanceRestorer
from durablecli.engine.intake import Intake
from durablecli.engine.message_queue import HandledItem, describe
from durablecli.engine.publisher import Publisher
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchCall
from durablecli.errors import DamagedHub, HubLocked, NewerHub, NoPermission, StorageError
from durablecli.model.entity_id import is_entity_id

_MAX_ERROR_LENGTH = 2_000
_FATAL_ERRORS = (OSError, StorageError, HubLocked, DamagedHub, NewerHub, NoPermission)
"""Errors of the disk or of the hub itself, never of one message or one instance: they stop the engine."""
_log = logging.getLogger("durablecli.engine")


class UnexpectedErrorHandler:
    """Gives cycles up, and keeps what failed from failing the next cycle. `sync` brings all commits to the disk."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        intake: Intake,
        committer: Committer,
        publisher: Publisher,
        restorer: InstanceRestorer,
        dispatcher: Dispatcher | None,
        *,
        sync: Callable[[], None],
    ) -> None:
        self._inbox = shared.hub.inbox
        self._cycle = shared.cycle
        self._deduplicator = shared.deduplicator
        self._instances = shared.instances
        self._timers = shared.timers
        self._turn_runner = turn_runner
        self._split_turn = turn_runner.split_turn
        self._blocker = turn_runner.blocker
        self._intake = intake
        self._messages = intake.messages
        self._committer = committer
        self._publisher = publisher
        self._restorer = restorer
        self._dispatcher = dispatcher
        self._sync = sync

    def handle(self, error: Exception) -> None:
        """Give the cycle up, and move the message to the failed ones, block the instance or quarantine the entity
        whose handling failed. Raises the error again if it can't be contained."""
        handled, text = self._cycle.handling, f"{type(error).__name__}: {error}"[:_MAX_ERROR_LENGTH]
        if isinstance(error, _FATAL_ERRORS) or handled is None:
            raise error
        if isinstance(handled, str) and self._instances.is_quarantined(handled):
            raise error
        _log.error("unexpected error while handling %s", describe(handled), exc_info=error)
        if self._split_turn.prevents_rollback:
            if not isinstance(handled, str):
                self._messages.move_to_failed(handled, text)
            raise error
        self._sync()
        self._publisher.flush()
        concerned = self._roll_back(self._cycle.builder, handled)
        if not isinstance(handled, str):
            self._messages.move_to_failed(handled, text)
        elif is_entity_id(handled) or not self._blocker.note_internal_error(handled, f"internal error: {text}"):
            self._instances.quarantine(handled, f"internal error: {text}")
        self._committer.begin_cycle()
        for id in sorted(concerned):
            self._restorer.restore(id, redeliver=False)
        self._committer.commit()

    def _roll_back(self, builder: CommitBuilder, handled: HandledItem) -> set[str]:
        """Undo the cycle. Returns the instances and entities to be restored."""
        concerned = {*builder.changed, *builder.visited, *self._intake.roll_back(builder)}
        concerned.update(each.instance for each in builder.commit.purged)
        if isinstance(handled, str):
            concerned.add(handled)
        self._inbox.release_ids(builder.reserved_ids)
        self._turn_runner.roll_back()
        self._deduplicator.roll_back()
        self._instances.clear()
        self._publisher.reread_rows()
        self._timers.remove_instances(concerned)
        self._mark_running_batches()
        return concerned

    def _mark_running_batches(self) -> None:
        """Note in the entities, which are read again, their batches that are in flight, or back and not applied."""
        in_flight = (
            [call.key for call in self._dispatcher.iter_in_flight() if isinstance(call, EntityBatchCall)]
            if self._dispatcher
            else []
        )
        for id, execution, last in [*in_flight, *self._intake.list_unprocessed_batches()]:
            entity = self._instances.get_entity(id)
            if entity is not None and entity.runtime_state.execution == execution:
                entity.running_upto = last
