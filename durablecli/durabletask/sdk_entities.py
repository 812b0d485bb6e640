"""Runs entities of the `durabletask` SDK: subclasses of its DurableEntity, and functions with `(ctx, input)`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from durabletask import entities as sdk

from durablecli.durabletask.sdk_payloads import SDK_CODEC, PayloadCodec, find_entity_input_type
from durablecli.entities.context import DurableEntityContext, EntityOperationState
from durablecli.model.events import NULL


class SdkEntityContext(sdk.EntityContext):
    """The SDK's context of one operation, over the engine's."""

    def __init__(self, operation: EntityOperationState, codec: PayloadCodec) -> None:
        self._running = operation
        self._codec = codec
        self._inner = DurableEntityContext(operation)

    @property
    def orchestration_id(self) -> str:
        return str(self._running.id)

    @property
    def operation(self) -> str:
        return self._running.name

    @property
    def entity_id(self) -> sdk.EntityInstanceId:
        return sdk.EntityInstanceId(self._running.id.name, self._running.id.key)

    def get_state(self, intended_type: Any = None, default: Any = None) -> Any:
        """Raises TypeError for a state that isn't of `intended_type`."""
        if not self._running.state:
            return default
        value = self._codec.decode(self._running.state, intended_type)
        if isinstance(intended_type, type) and not isinstance(value, intended_type):
            raise TypeError(f"the state is a {type(value).__name__} and can't be read as {intended_type.__name__}")
        return value

    def set_state(self, new_state: Any) -> None:
        self._inner.set_state(self._codec.encode(new_state))

    def signal_entity(
        self,
        entity_instance_id: sdk.EntityInstanceId,
        operation: str,
        input: Any = None,
        signal_time: datetime | None = None,
    ) -> None:
        self._inner.signal_entity(str(entity_instance_id), operation, self._codec.encode(input), signal_time)

    def schedule_new_orchestration(
        self, orchestration_name: str, input: Any = None, instance_id: str | None = None
    ) -> str:
        return self._inner.start_new(orchestration_name, instance_id or None, self._codec.encode(input))


class SdkEntity:
    """Calls the operations of one entity of the SDK."""

    def __init__(self, entity: Callable[..., Any], codec: PayloadCodec = SDK_CODEC) -> None:
        self._entity = entity
        self._codec = codec

    def call(self, operation: EntityOperationState) -> Any:
        context = SdkEntityContext(operation, self._codec)
        annotation = find_entity_input_type(self._entity, operation.name)
        value = self._codec.decode(operation.input, annotation)
        is_class = isinstance(self._entity, type)
        result = self._call_method(context, operation, value) if is_class else self._entity(context, value)
        return self._encode_later(result) if inspect.isawaitable(result) else self._codec.encode(result)

    async def _encode_later(self, result: Awaitable[Any]) -> Any:
        return self._codec.encode(await result)

    def _call_method(self, context: SdkEntityContext, operation: EntityOperationState, value: Any) -> Any:
        entity = self._entity()
        method = getattr(entity, operation.name, None)
        if method is None or operation.name.startswith("_"):
            raise AttributeError(f"Entity '{operation.id}' does not have operation '{operation.name}'")
        if not callable(method):
            raise TypeError(f"Entity operation '{operation.name}' is not callable")
        entity._initialize_entity_context(context)
        return method(value) if operation.input != NULL or _needs_input(method) else method()

    def complete(self, operation: EntityOperationState, value: Any) -> None:
        """Nothing is left to do: the state was set by the operation."""


def _needs_input(method: Callable[..., Any]) -> bool:
    open_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return any(each.default is each.empty and each.kind not in open_kinds for each in parameters)
