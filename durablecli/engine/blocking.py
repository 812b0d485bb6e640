"""Blocked instances: they stay Running, but their turns don't run until the reason is gone.

A missing activity, a hang and an unexpected error are found here. `executor_runner` finds a missing orchestrator, a
version that doesn't match and non-determinism, and `entity_scheduler` a missing entity.
"""

from __future__ import annotations

import logging

from durablecli.engine.commit_builder import LogLine
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.engine.watchdog import format_block_reason, is_code_unchanged
from durablecli.escape import escape
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.store.hang_report import HangReport


class Blocker:
    """Blocks instances, or fails them where the options ask for that, and unblocks them."""

    def __init__(
        self, shared: SharedParts, applier: DecisionApplier, recorder: TurnRecorder, ready: ReadyQueue
    ) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._ready = ready
        self._registry = shared.registry
        self._applier = applier
        self._recorder = recorder
        self._serves_workers = shared.options.remote_work is not None
        self._fail_on_nondeterminism = shared.options.fail_on_nondeterminism
        self.hang_report: HangReport | None = None
        """The instance that hung the last engine: it isn't run even if its message still waits in the inbox."""
        self._internal_errors: dict[str, str] = {}
        """Instances whose turns failed unexpectedly, and how."""
        self._blocked: set[str] = set()
        """The instances that were blocked, or found to be blocked, and may still be."""

    def note_internal_error(self, id: str, text: str) -> bool:
        """Block an instance from now on because its turn failed unexpectedly. False if it was noted before."""
        if id in self._internal_errors:
            return False
        self._internal_errors[id] = text
        return True

    def forget_internal_error(self, id: str) -> None:
        self._internal_errors.pop(id, None)

    def is_hung(self, id: str) -> bool:
        """Whether this instance hung the last engine."""
        return self.hang_report is not None and self.hang_report.instance == id

    def find_reason(self, id: str) -> str | None:
        """The reason why no turn of this instance may run in this engine, if there is one."""
        if self.hang_report is not None and self.hang_report.instance == id:
            return format_block_reason(self.hang_report)
        return self._internal_errors.get(id)

    def note_blocked(self, id: str) -> None:
        """Note an instance that an earlier engine has blocked, and that isn't tried again here."""
        self._blocked.add(id)

    def retry_blocked(self) -> int:
        """Try the turns of blocked instances again, as the code has changed. Returns their number."""
        self._internal_errors.clear()
        if self.hang_report is not None and not is_code_unchanged(format_block_reason(self.hang_report)):
            self.hang_report = None
        blocked, self._blocked = sorted(self._blocked), set()
        count = 0
        for id in blocked:
            instance = self._instances.get(id)
            if instance is None or (reason := instance.runtime_state.blocked) is None:
                continue
            if is_code_unchanged(reason):
                self._blocked.add(id)
            else:
                self._ready.add(id)
                count += 1
        return count

    def block(self, instance: CachedInstance, reason: str) -> None:
        """Record why an instance's turns can't run, once per reason. What arrives from now on is held."""
        self.block_or_fail(instance, reason, "durablecli.NonDeterminism" if self._fail_on_nondeterminism else None)

    def block_or_fail(self, instance: CachedInstance, reason: str, failure_kind: str | None) -> None:
        """Block an instance, or with a `failure_kind` fail it."""
        instance.drop_executor()
        self._blocked.add(instance.id)
        state = instance.runtime_state
        if state.last_n == 0:
            return  # its start is recorded as held first, and then looked at again
        if failure_kind is not None:
            self._fail(instance, Failure(failure_kind, reason))
        elif state.blocked != reason:
            self._applier.record_event(instance, ev.ExecutionBlocked(reason))
            name, arguments = state.started.name, (escape(instance.id), escape(reason.replace("\n", "; ")))
            fields = {"event": "blocked", "instance": instance.id, "name": name, "reason": reason}
            self._cycle.builder.log_lines.append(
                LogLine(f"orchestrator.{name}", logging.WARNING, "%s is blocked: %s", arguments, fields)
            )
            if self._applier.hooks.is_used:
                self._applier.hooks.report_block(instance, reason)

    def _fail(self, instance: CachedInstance, failure: Failure) -> None:
        state = instance.runtime_state
        at = max(self._cycle.builder.at, state.updated)
        function = self._registry.find_orchestrator(state.started.name) if self._registry is not None else None
        named = function is not None and function.is_azure
        completed = ev.ExecutionCompleted("Failed", failure=failure, failure_has_name_prefix=named)
        self._recorder.record_turn(instance, [ev.Record(state.last_n + 1, at, completed)])

    def unblock(self, instance: CachedInstance) -> None:
        """Unblock an instance, if it is blocked, and schedule its activities again."""
        state = instance.runtime_state
        if state.blocked is not None:
            self._applier.record_event(instance, ev.ExecutionUnblocked())
            self._applier.schedule_activities(state, pending.activities(state))

    # ── activities that aren't loaded ──────────────────────────────────────────────────────────────────────────

    def may_miss_activity(self, instance: CachedInstance) -> bool:
        """Whether an activity may be missing. Finding out reads every open activity, too much for each live turn."""
        return (
            instance.executor is None
            or instance.runtime_state.blocked is not None
            or instance.id in self._applier.missing_activity
        )

    def block_if_activity_missing(self, instance: CachedInstance) -> bool:
        """Block an instance if an activity that it has scheduled isn't loaded; True if so.

        If the code was replaced meanwhile, one that was missing may be there now: it is scheduled again.
        """
        assert self._registry is not None
        was_missing = instance.id in self._applier.missing_activity
        self._applier.missing_activity.discard(instance.id)
        if self._serves_workers:
            return False
        for _, task in pending.activities(instance.runtime_state):
            if self._registry.find_activity(task.name) is None:
                self.block(instance, self._registry.describe_missing("activity", task.name))
                return True
        if was_missing:
            self._applier.schedule_activities(instance.runtime_state, pending.activities(instance.runtime_state))
        return False
