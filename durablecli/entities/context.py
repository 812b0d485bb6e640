"""The context of one entity operation, and its effects so far. They count only once it has returned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.events import ABSENT, NULL, EntityOperationSignal, EntityOperationStart
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import decode, encode
from durablecli.model.validation import check_due_time, check_operation_name, check_tags, check_version
from durablecli.replay.function_marks import function_name

CONTEXT_ATTRIBUTE = "_entity_context"
"""The attribute of a class entity's object that holds its context; it isn't part of the state."""
MAX_SENT = 10_000
"""The most signals and starts of one operation."""
_SEND_OVERHEAD_BYTES = 400
"""The approximate size of a signal or start besides names and input: its place in the batch, and its records at the
target."""


class EntityOperationState:
    """An operation while it runs. Values are encoded at once, so later changes to an object don't count.

    `state` and `result` are ABSENT if there is none. `state_changed` says that the operation has set or deleted its
    state; `finished` that it has ended, so that its context can't be used any more.
    """

    __slots__ = (
        "at",
        "entity_object",
        "existed",
        "finished",
        "id",
        "input",
        "name",
        "payload_limit",
        "result",
        "sent_bytes",
        "signals",
        "starts",
        "state",
        "state_changed",
    )  # fmt: skip

    def __init__(self, id: EntityId, name: str, input: Raw, state: Raw, limit: int, at: datetime) -> None:
        self.id = id
        self.name = name
        self.input = input
        self.state = state
        self.existed = bool(state)
        self.payload_limit = limit
        self.at = at
        self.result = ABSENT
        self.signals: list[EntityOperationSignal] = []
        self.starts: list[EntityOperationStart] = []
        self.sent_bytes = 0
        """The approximate size of its signals and starts."""
        self.state_changed = False
        self.finished = False
        self.entity_object: Any = None
        """The object, if it is a class entity."""

    @property
    def is_idle(self) -> bool:
        """Whether it has had no effect so far."""
        return not (self.state_changed or self.result or self.signals or self.starts)

    @property
    def size(self) -> int:
        """The size of its state, its result and what it sends, in bytes."""
        return len(self.state) + len(self.result) + self.sent_bytes

    def count_sent(self, size: int) -> None:
        """Count a signal or start whose names and input have this size; raises UsageError if there are too many."""
        if len(self.signals) + len(self.starts) >= MAX_SENT:
            raise UsageError(
                f"one operation sends at most {MAX_SENT:,} signals and starts: send "
                "the rest from another operation, which this one signals"
            )
        self.sent_bytes += _SEND_OVERHEAD_BYTES + size

    def finish(self) -> None:
        """Let its context be used no more. An object that knows its context and is known here would be a cycle."""
        self.finished = True
        self.entity_object = None

    def store_state(self, state: Raw) -> None:
        """Set the state; null deletes it, as ABSENT does."""
        self.state_changed = True
        self.state = ABSENT if state == NULL else state


class DurableEntityContext:
    """The context of one entity operation.

    Names and signatures are those of `azure.durable_functions.DurableEntityContext`. If the operation raises, the state
    is unchanged, and nothing is sent or started.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: EntityOperationState) -> None:
        self._operation = operation

    # ── the entity and the operation ─────────────────────────────────────────────────────────────────────────────

    @property
    def entity_id(self) -> EntityId:
        return self._operation.id

    @property
    def entity_name(self) -> str:
        return self._operation.id.name

    @property
    def entity_key(self) -> str:
        return self._operation.id.key

    @property
    def operation_name(self) -> str:
        """The name of the running operation; raises RuntimeError after its end."""
        return self._require_running().name

    @property
    def is_newly_constructed(self) -> bool:
        """Whether the entity had no state before this operation."""
        return not self._operation.existed

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"durablecli.entity.{self._operation.id.name}")

    def get_input(self, expected_type: Any = None) -> Any:
        """Return the operation's input, decoded by `expected_type` if given."""
        return decode(self._operation.input, Any if expected_type is None else expected_type)

    # ── state ────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_state(self, initializer: Callable[[], Any] | None = None, expected_type: Any = None) -> Any:
        """Return a copy of the state, or the result of `initializer` if there is none. set_state keeps changes."""
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer argument needs to be a callable function")
        state = self._require_running().state
        if state:
            return decode(state, Any if expected_type is None else expected_type)
        return None if initializer is None else initializer()

    def set_state(self, state: Any) -> None:
        """Set the state to a copy of this value. None deletes it."""
        running = self._require_running()
        if running.entity_object is not None:
            raise RuntimeError("the state of a class entity is its attributes: set those instead of calling set_state")
        running.store_state(encode(state, running.payload_limit))

    def destruct_on_exit(self) -> None:
        """Delete the entity's state. Later operations find the entity newly constructed."""
        self._require_running().store_state(ABSENT)

    def set_result(self, result: Any) -> None:
        """Set the result for the caller. A value that the function returns is its result too."""
        running = self._require_running()
        running.result = encode(result, running.payload_limit)

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the names of Azure's parameters
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        at: datetime | timedelta | None = None,
    ) -> None:
        """Signal an entity, possibly this one, without waiting.

        The operation runs at `at`: a time (naive ones are UTC) or a duration from now.
        """
        running = self._require_running()
        entity = str(to_entity_id(entityId))
        operation = check_operation_name(operationName)
        due = None if at is None else check_due_time(at, "at", running.at)
        signal = EntityOperationSignal(entity, operation, encode(operationInput, running.payload_limit), due)
        running.count_sent(len(entity) + len(operation) + len(signal.input))
        running.signals.append(signal)

    def start_new(
        self,
        name: str | Callable[..., Any],
        instance_id: str | None = None,
        client_input: Any = None,
        version: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start an orchestration, and return its id, which is random if none is given. Lists filter by `tags`."""
        running = self._require_running()
        text = function_name(name, "orchestrator")
        id = new_id() if instance_id is None else check_instance_id(instance_id)
        value, checked = encode(client_input, running.payload_limit), check_version(version)
        start = EntityOperationStart(id, text, value, checked, tags=check_tags(tags) if tags else {})
        running.count_sent(len(id) + len(text) + len(value) + sum(map(len, chain(*start.tags.items()))))
        running.starts.append(start)
        return id

    def _require_running(self) -> EntityOperationState:
        if self._operation.finished:
            raise RuntimeError("Entity operation is unassigned")
        return self._operation


def get_operation_time(context: DurableEntityContext) -> datetime:
    """The time of the commit that decided to run the operation."""
    return context._operation.at


class DurableEntity:
    """A base for class entities that use their context, as `entity_context`."""

    @property
    def entity_context(self) -> DurableEntityContext:
        """The context of the running operation; raises RuntimeError outside of one."""
        context = vars(self).get(CONTEXT_ATTRIBUTE)
        if context is None:
            raise RuntimeError("Entity operation is unassigned")
        return context  # type: ignore[no-any-return]
