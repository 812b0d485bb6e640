"""Replaces the functions of a running engine between two cycles, when the files of the app have changed.

Nothing is interrupted. Calls that run finish with the old code, and their results count; each orchestration is replayed
with the new code at its next turn, and blocked ones are tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from durablecli.engine.code_state import CodeState
from durablecli.engine.committer import Committer
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.registry import Registry


class Replaced(NamedTuple):
    """How many instances in memory continue with the new code, and how many blocked ones are tried again."""

    live: int
    blocked: int


class _Request(NamedTuple):
    registry: Registry
    on_replaced: Callable[[Replaced], None]


class CodeReplacer:
    """Takes the functions of a reloaded app. `sync` brings all commits to the disk, and `wake` begins a cycle."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        committer: Committer,
        dispatcher: Dispatcher | None,
        sync: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._registry = shared.registry
        self._instances = shared.instances
        self._blocker = turn_runner.blocker
        self._entities = turn_runner.entity_scheduler
        self._split_turn = turn_runner.split_turn
        self._committer = committer
        self._dispatcher = dispatcher
        self._sync = sync
        self._wake = wake
        self._requested: deque[_Request] = deque()
        self.state: CodeState | None = None
        """What is known of the code; None if it doesn't come from files."""

    def request(self, registry: Registry, on_replaced: Callable[[Replaced], None] = lambda replaced: None) -> None:
        """Have the functions of this registry run from the next cycle on; any thread may call this.

        The functions must be bound as those of the first registry were. `on_replaced` is called by the engine's
        thread when they have been replaced.
        """
        self._requested.append(_Request(registry, on_replaced))
        self._wake()

    def replace_if_requested(self) -> None:
        """Replace the functions, if that is requested and no turn is being split.

        What was decided with the old functions is dispatched before, so that no call is left that they alone know.
        """
        if not self._requested or self._split_turn.is_active:
            return
        assert self._registry is not None
        self._sync()
        requested = [self._requested.popleft() for _ in range(len(self._requested))]
        self._registry.replace_functions(requested[-1].registry)
        if self._dispatcher is not None:
            self._dispatcher.limited.take_new_options()
        replaced = Replaced(self._instances.drop_executors(), self._blocker.retry_blocked())
        for request in requested:
            request.on_replaced(replaced)
        self._committer.begin_cycle()
        self._entities.retry_blocked()
        self._committer.commit()
