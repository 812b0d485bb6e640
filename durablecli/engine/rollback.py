"""Giving a cycle up: as if its commit had never been begun, when something in it failed unexpectedly.

Nothing of the cycle is on disk yet, and nothing that it decided was done or acknowledged. The caller has brought every
earlier commit to the histories; so what is cached can be dropped and read again, and what the cycle took is put back.
"""

from __future__ import annotations

from durablecli.engine.commit_builder import Draft
from durablecli.engine.instance_cache import Instances
from durablecli.engine.intake import Sources
from durablecli.engine.publisher import Publisher
from durablecli.engine.timers import Timers
from durablecli.engine.turns import Turns
from durablecli.engine.workers.dispatcher import Crew
from durablecli.engine.workers.entity_batch import Batch
from durablecli.store.inbox.inbox import Inbox


class Rollback:
    """Knows which parts of an engine a cycle changes."""

    def __init__(
        self,
        instances: Instances,
        turns: Turns,
        timers: Timers,
        sources: Sources,
        publisher: Publisher,
        inbox: Inbox,
        crew: Crew | None,
    ) -> None:
        self._instances = instances
        self._turns = turns
        self._timers = timers
        self._sources = sources
        self._publisher = publisher
        self._inbox = inbox
        self._crew = crew

    def undo(self, draft: Draft) -> set[str]:
        """Undo a cycle. Returns the instances and entities whose timers and turns have to be taken up again."""
        concerned = {*draft.touched, *draft.looked_at, *self._sources.put_back(draft)}
        concerned.update(each.instance for each in draft.commit.purged)
        if isinstance(draft.handling, str):
            concerned.add(draft.handling)
        self._inbox.release_ids(draft.reserved)
        self._turns.abandon()
        self._instances.forget_all()
        self._publisher.reread_rows()
        self._timers.forget(concerned)
        self._mark_running()
        return concerned

    def _mark_running(self) -> None:
        """Note in each entity that was read again which batch of it is in flight, or back and not yet applied."""
        in_flight = [work.key for work in self._crew.calls() if isinstance(work, Batch)] if self._crew else []
        for id, execution, last in [*in_flight, *self._sources.returning()]:
            entity = self._instances.entity(id)
            if entity is not None and entity.ledger.execution == execution:
                entity.running = last
