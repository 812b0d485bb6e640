"""The intake of due timers."""

from __future__ import annotations

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.message_intake import MessageIntake
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.timers import TimerEntry
from durablecli.engine.turns import TurnRunner
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending


class TimerIntake:
    """Fires the timers that are due at the time of the cycle."""

    def __init__(self, shared: SharedParts, turn_runner: TurnRunner, messages: MessageIntake) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._scope = shared.scope
        self._timers = shared.timers
        self._turn_runner = turn_runner
        self._entities = turn_runner.entity_scheduler
        self._messages = messages
        self._lateness = shared.metrics.timer_lateness
        self._fired: list[TimerEntry] = []
        """The timers that this cycle has fired."""

    def begin_cycle(self) -> None:
        self._fired = []

    def fire_due(self) -> None:
        """Fire timers until the budget is spent. One that has to wait for a message lets others pass."""
        if self._registry is None:
            return
        waiting: list[TimerEntry] = []
        try:
            while not self._cycle.is_budget_spent and (entry := self._timers.pop_due(self._cycle.builder.at)):
                waiting.append(entry)
                if self._messages.handle_before(entry.instance):
                    self._fired.append(waiting.pop())
                    self._cycle.handling = entry.instance
                    self._fire(entry)
                    self._cycle.handling = None
        finally:
            for entry in waiting:
                self._timers.put_back(entry)

    def _fire(self, entry: TimerEntry) -> None:
        if entry.instance not in self._scope:
            return
        if is_entity_id(entry.instance):
            self._entities.fire_timer(entry)
            self._turn_runner.deliver()
            return
        instance = self._instances.get(entry.instance)
        if instance is None or instance.runtime_state.ended:
            return
        if entry.n is None:
            self._fire_or_set_all(instance)
        elif instance.runtime_state.execution == entry.execution and entry.n in instance.runtime_state.open_decisions:
            self._lateness.observe((self._cycle.builder.at - entry.at).total_seconds())
            self._turn_runner.run_arrival(entry.instance, entry.execution, ev.TimerFired(entry.n))

    def _fire_or_set_all(self, instance: CachedInstance) -> None:
        """Fire the due timers of an instance that was on disk only, and set the others."""
        now, state = self._cycle.builder.at, instance.runtime_state
        for n, timer in sorted(pending.timers(state), key=lambda each: (each[1].fire_at, each[0])):
            if timer.fire_at <= now:
                self._lateness.observe((now - timer.fire_at).total_seconds())
                self._turn_runner.run_arrival(instance.id, state.execution, ev.TimerFired(n))
            else:
                back_off = timer.retry_of is not None
                self._timers.set(timer.fire_at, instance.id, state.execution, n, back_off=back_off, restored=True)
        start_at = pending.scheduled_start_time(state)
        if start_at is not None and start_at > now:
            self._timers.set(start_at, instance.id, state.execution, None)
        else:
            self._turn_runner.mark_ready(instance)

    def roll_back(self) -> set[str]:
        """Forget what this cycle has fired. Returns the instances and entities concerned, to be restored."""
        fired, self._fired = self._fired, []
        return {entry.instance for entry in fired}
