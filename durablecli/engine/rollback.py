"""Giving a cycle up: as if its commit had never been begun, when something in it failed unexpectedly.

Nothing of the cycle is on disk yet, and nothing that it decided was done or acknowledged. The caller has brought every
earlier commit to the histories; so what is cached can be dropped and read again, and what the cycle took is put back.
"""

from __future__ import annotations

from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.instance_cache import InstanceCache
from durablecli.engine.intake import Intake
from durablecli.engine.publisher import Publisher
from durablecli.engine.timers import Timers
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchCall
from durablecli.store.inbox.inbox import Inbox


class Rollback:
    """Knows which parts of an engine a cycle changes."""

    def __init__(
        self,
        instances: InstanceCache,
        turn_runner: TurnRunner,
        timers: Timers,
        intake: Intake,
        publisher: Publisher,
        inbox: Inbox,
        dispatcher: Dispatcher | None,
    ) -> None:
        self._instances = instances
        self._turn_runner = turn_runner
        self._timers = timers
        self._intake = intake
        self._publisher = publisher
        self._inbox = inbox
        self._dispatcher = dispatcher

    def roll_back(self, builder: CommitBuilder) -> set[str]:
        """Undo a cycle. Returns the instances and entities whose timers and turns have to be taken up again."""
        concerned = {*builder.changed, *builder.visited, *self._intake.roll_back(builder)}
        concerned.update(each.instance for each in builder.commit.purged)
        if isinstance(builder.handling, str):
            concerned.add(builder.handling)
        self._inbox.release_ids(builder.reserved_ids)
        self._turn_runner.roll_back()
        self._instances.clear()
        self._publisher.reread_rows()
        self._timers.remove_instances(concerned)
        self._mark_running_batches()
        return concerned

    def _mark_running_batches(self) -> None:
        """Note in each entity that was read again which batch of it is in flight, or back and not yet applied."""
        in_flight = (
            [work.key for work in self._dispatcher.iter_in_flight() if isinstance(work, EntityBatchCall)]
            if self._dispatcher
            else []
        )
        for id, execution, last in [*in_flight, *self._intake.list_unprocessed_batches()]:
            entity = self._instances.get_entity(id)
            if entity is not None and entity.runtime_state.execution == execution:
                entity.running_upto = last
