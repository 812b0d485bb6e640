"""What one operation of an entity is given, and what it has done so far; nothing of it counts before it returns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.events import ABSENT, NULL, EntityOperationSignal, EntityOperationStart
from durablecli.model.ids import check_instance_id, new_id
from durablecli.model.payloads import decode, encode
from durablecli.model.validation import check_due_time, check_operation_name, check_version
from durablecli.replay.function_marks import function_name

CONTEXT_ATTRIBUTE = "_entity_context"
"""Under this name an object of a class entity holds its context; it is no part of the state."""
MAX_SENT = 10_000
"""Signals and starts of one operation."""
_SEND_OVERHEAD_BYTES = 400
"""About what a signal or a start takes besides names and input: a place in the batch, and a record or two where it
arrives."""


class EntityOperationState:
    """An operation while it runs. Values cross the codec at once: what is changed afterwards is not in them.

    `state` and `result` are ABSENT where there is none. `touched` says that the operation has set its state or taken it
    away; `over` that it has ended, so that whoever kept the context can do nothing any more.
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
        """About how many bytes its signals and starts take."""
        self.state_changed = False
        self.finished = False
        self.entity_object: Any = None
        """The object of a class entity."""

    @property
    def is_idle(self) -> bool:
        """Whether it has done nothing at all so far."""
        return not (self.state_changed or self.result or self.signals or self.starts)

    @property
    def size(self) -> int:
        """The bytes of its state, its result and what it sends."""
        return len(self.state) + len(self.result) + self.sent_bytes

    def count_sent(self, size: int) -> None:
        """Count a signal or a start, whose names and input have this size; raises UsageError when they are too many."""
        if len(self.signals) + len(self.starts) >= MAX_SENT:
            raise UsageError(
                f"one operation sends at most {MAX_SENT:,} signals and starts: send "
                "the rest from another operation, which this one signals"
            )
        self.sent_bytes += _SEND_OVERHEAD_BYTES + size

    def store_state(self, state: Raw) -> None:
        """Set the state; null takes it away, as ABSENT does."""
        self.state_changed = True
        self.state = ABSENT if state == NULL else state


class DurableEntityContext:
    """An entity's window to the world, for one operation.

    Names and signatures are those of `azure.durable_functions.DurableEntityContext`. If the operation raises, its state
    is as it was before, and nothing was sent or started.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: EntityOperationState) -> None:
        self._operation = operation

    # ── facts ──────────────────────────────────────────────────────────────────────────────────────────────────

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
        """The operation that runs; RuntimeError when it has ended."""
        return self._require_running().name

    @property
    def is_newly_constructed(self) -> bool:
        """Whether the entity had no state before this operation."""
        return not self._operation.existed

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"durablecli.entity.{self._operation.id.name}")

    def get_input(self, expected_type: Any = None) -> Any:
        """The operation's input, decoded; by `expected_type` where one is given."""
        return decode(self._operation.input, Any if expected_type is None else expected_type)

    # ── state ──────────────────────────────────────────────────────────────────────────────────────────────────

    def get_state(self, initializer: Callable[[], Any] | None = None, expected_type: Any = None) -> Any:
        """A copy of the state, or what `initializer` makes where there is none; set_state keeps what you change."""
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer argument needs to be a callable function")
        state = self._require_running().state
        if state:
            return decode(state, Any if expected_type is None else expected_type)
        return None if initializer is None else initializer()

    def set_state(self, state: Any) -> None:
        """Set the state, as it is now. None takes it away."""
        running = self._require_running()
        if running.entity_object is not None:
            raise RuntimeError("the state of a class entity is its attributes: set those instead of calling set_state")
        running.store_state(encode(state, running.payload_limit))

    def destruct_on_exit(self) -> None:
        """Take the entity's state away; what is sent to it later finds it newly constructed."""
        self._require_running().store_state(ABSENT)

    def set_result(self, result: Any) -> None:
        """Answer whoever called the operation. A value that the function returns is its result as well."""
        running = self._require_running()
        running.result = encode(result, running.payload_limit)

    # ── effects ────────────────────────────────────────────────────────────────────────────────────────────────

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803 - the names of Azure's parameters
        operationName: str,  # noqa: N803
        operationInput: Any = None,  # noqa: N803
        at: datetime | timedelta | None = None,
    ) -> None:
        """Send an operation to an entity, this one included, and wait for nothing.

        It isn't run before `at`: a time (naive ones are UTC), or a while from now.
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
    ) -> str:
        """Start an orchestration, and return its id: a random one where none is given."""
        running = self._require_running()
        text = function_name(name, "orchestrator")
        id = new_id() if instance_id is None else check_instance_id(instance_id)
        start = EntityOperationStart(id, text, encode(client_input, running.payload_limit), check_version(version))
        running.count_sent(len(id) + len(text) + len(start.input))
        running.starts.append(start)
        return id

    def _require_running(self) -> EntityOperationState:
        if self._operation.finished:
            raise RuntimeError("Entity operation is unassigned")
        return self._operation


class DurableEntity:
    """A base for class entities that want their context: whatever derives from it has `entity_context`."""

    @property
    def entity_context(self) -> DurableEntityContext:
        """The context of the operation that runs; RuntimeError outside of one."""
        context = vars(self).get(CONTEXT_ATTRIBUTE)
        if context is None:
            raise RuntimeError("Entity operation is unassigned")
        return context  # type: ignore[no-any-return]
