"""Adapters for the two ways to write an entity, as a function and as a class: they call its operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from durablecli.entities.class_methods import EntityMethods
from durablecli.entities.class_state import make_state_fields
from durablecli.entities.context import DurableEntityContext, EntityOperationState
from durablecli.model.events import ABSENT

_DELETE_OPERATION = "delete"


class EntityAdapter(Protocol):
    """Calls the operations of one entity function."""

    def call(self, operation: EntityOperationState) -> Any:
        """Call the author's code. Returns its result, or the awaitable of asynchronous code."""
        ...

    def complete(self, operation: EntityOperationState, value: Any) -> None:
        """Complete an operation that has returned `value`."""
        ...


class FunctionEntity:
    """A function that takes the context, and dispatches by the name of the operation itself."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def call(self, operation: EntityOperationState) -> Any:
        return self._call(DurableEntityContext(operation))

    def complete(self, operation: EntityOperationState, value: Any) -> None:
        if value is None and operation.is_idle and operation.name.casefold() == _DELETE_OPERATION:
            operation.store_state(ABSENT)


class ClassEntity:
    """A class whose methods are the operations, and whose attributes are the state."""

    def __init__(self, methods: EntityMethods) -> None:
        self._methods = methods
        self._state_fields = make_state_fields(methods.kind)

    def call(self, operation: EntityOperationState) -> Any:
        method = self._methods.find(operation.name)
        if method is not None:
            context = DurableEntityContext(operation)
            operation.entity_object = self._state_fields.load(operation.state, context)
            return method.run(operation, context)
        if operation.name.casefold() != _DELETE_OPERATION:
            raise self._methods.unknown_operation_error(operation.name)
        operation.store_state(ABSENT)
        return None

    def complete(self, operation: EntityOperationState, value: Any) -> None:
        if not operation.state_changed:
            operation.state = self._state_fields.save(operation.entity_object, operation.payload_limit)
