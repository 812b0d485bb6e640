"""Binds the functions of a registry that are written for the `durabletask` SDK, so that the engine can call them."""

from __future__ import annotations

from collections.abc import Iterable

from durablecli.durabletask.sdk_activities import wrap_activity, wrap_azure_activity
from durablecli.durabletask.sdk_entities import SdkEntity
from durablecli.durabletask.sdk_orchestrators import wrap_orchestrator
from durablecli.durabletask.sdk_payloads import AZURE_CODEC, SDK_CODEC
from durablecli.registry import Function


def bind(functions: Iterable[Function]) -> None:
    """Bind the functions."""
    for function in functions:
        codec = AZURE_CODEC if function.is_azure else SDK_CODEC
        if function.kind == "orchestrator":
            function.replace_callable(wrap_orchestrator(function.call, codec))
        elif function.kind == "entity":
            function.entity_adapter = SdkEntity(function.call, codec)
        elif function.is_azure or function.has_bindings:
            function.replace_callable(wrap_azure_activity(function.call, function.input_name or "input"))
        else:
            function.replace_callable(wrap_activity(function.call))
