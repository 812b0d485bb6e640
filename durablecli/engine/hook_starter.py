"""Starts the deliveries to hooks: each is an instance of its own, started by the commit that records the event."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase

from durablecli.config import HookConfig
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.shared_parts import SharedParts
from durablecli.model import events as ev
from durablecli.model.failure_report import first_line, make_cause
from durablecli.model.hook_delivery import (
    HOOK_ORCHESTRATOR,
    PAYLOAD_VERSION,
    HookDelivery,
    HookError,
    HookEvent,
    HookTarget,
    limit_text,
    make_delivery_id,
    make_head,
)
from durablecli.model.payloads import encode
from durablecli.model.redaction import redact_payload
from durablecli.replay import pending

EVENTS = ("failed", "blocked", "completed", "terminated")
"""What a hook can be called for."""
_SECOND = timedelta(seconds=1)


class HookStarter:
    """Starts deliveries in the commit of the cycle. Without hooks nothing is done for an event."""

    def __init__(self, shared: SharedParts) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._scope = shared.scope
        self._version = shared.options.versions.current
        hooks = shared.options.hooks
        self._hub = shared.hub.root
        self._hooks: dict[str, tuple[HookConfig, ...]] = {
            event: found for event in EVENTS if (found := getattr(hooks, event))
        }
        self._own: list[str] = []
        """The deliveries that this engine has started, if it drives one instance only."""

    @property
    def is_used(self) -> bool:
        """Whether there are hooks at all."""
        return bool(self._hooks)

    def report_end(self, instance: CachedInstance) -> None:
        """Start the deliveries for an instance that has ended; its last record is that of the end."""
        state = instance.runtime_state
        event = (state.end_status or "").lower()
        if event in self._hooks:
            self._start(instance, event, None)

    def report_block(self, instance: CachedInstance, reason: str) -> None:
        """Start the deliveries for an instance that is blocked; its last record says so."""
        if "blocked" in self._hooks:
            self._start(instance, "blocked", reason)

    @property
    def is_delivering(self) -> bool:
        """Whether a delivery of this engine, which drives one instance only, hasn't been tried yet."""
        return any(self._is_untried(id) for id in self._own)

    def _is_untried(self, id: str) -> bool:
        delivery = self._instances.get(id)
        if delivery is None or delivery.runtime_state.ended or delivery.runtime_state.must_hold:
            return False
        return next(iter(pending.timers(delivery.runtime_state)), None) is None  # after a failure it waits

    def _start(self, instance: CachedInstance, event: str, reason: str | None) -> None:
        started = instance.runtime_state.started
        if started.name == HOOK_ORCHESTRATOR:
            return
        name = started.name.casefold()
        for index, hook in enumerate(self._hooks[event]):
            # A blocked child blocks its parent, and nobody else is informed of it.
            is_wanted = started.parent is None or hook.children or event == "blocked"
            if is_wanted and any(fnmatchcase(name, pattern.casefold()) for pattern in list_patterns(hook)):
                self._start_delivery(instance, index, hook, event, reason)

    def _start_delivery(
        self, instance: CachedInstance, index: int, hook: HookConfig, event: str, reason: str | None
    ) -> None:
        state = instance.runtime_state
        id = make_delivery_id(instance.id, state.execution, state.last_n, event, index)
        if self._instances.get(id) is not None or id in self._cycle.starting_children:
            return  # a repair has removed the record of the event, which was recorded again
        delivery = HookDelivery(self._make_event(id, instance, event, reason), make_target(hook))
        if self._scope.root is not None:
            self._scope.add(id)
            self._own.append(id)
        self._cycle.starting_children.add(id)
        self._cycle.send(
            id,
            None,
            ev.ExecutionStarted(id, self._cycle.builder.execution, HOOK_ORCHESTRATOR, encode(delivery), self._version),
        )

    def _make_event(self, id: str, instance: CachedInstance, event: str, reason: str | None) -> HookEvent:
        state = instance.runtime_state
        started, failure, error = state.started, state.failure, None
        if event == "failed" and failure is not None:
            cause = make_cause(failure)
            location = f"{cause.at.file}:{cause.at.line}" if cause.at is not None else None
            error = HookError(cause.type, limit_text(cause.message), location)
            what = f"{event}: {cause.text}"
        elif reason is not None:
            what = f"is {event}: {reason}"
        else:
            what = "was terminated" if event == "terminated" else event
        shows_output = event in ("completed", "terminated") and state.result is not None
        return HookEvent(
            PAYLOAD_VERSION,
            id,
            event,
            first_line(f"{instance.id} ({started.name}) {what}"),
            instance.id,
            state.execution,
            started.name,
            state.status,
            state.updated,
            self._hub,
            started.parent.instance if started.parent is not None else None,
            started.tags,
            error,
            None,
            limit_text(reason) if reason is not None else None,
            make_head(redact_payload(started.name, state.result)) if shows_output and state.result else None,
        )


def list_patterns(hook: HookConfig) -> tuple[str, ...]:
    """Return the patterns of the names of the orchestrators that a hook is for."""
    return (hook.name,) if isinstance(hook.name, str) else hook.name


def make_target(hook: HookConfig) -> HookTarget:
    """Return where a hook has events delivered."""
    return HookTarget(hook.url, hook.run, hook.headers, hook.timeout / _SECOND, hook.attempts)
