"""Runs the functions of an app that are written for the `durabletask` SDK, which is imported only for those."""

from __future__ import annotations

from durablecli.durabletask.sdk_detection import (
    is_for_sdk,
    is_sdk_loaded,
    list_functions,
    mark_function,
    mark_functions,
)
from durablecli.registry import Registry

__all__ = [
    "INSTALL_HINT",
    "SDK_PACKAGE",
    "bind_functions",
    "is_for_sdk",
    "is_sdk_loaded",
    "mark_function",
    "mark_functions",
]

SDK_PACKAGE = "durabletask"
INSTALL_HINT = "pip install 'durablecli[grpc]'"


def bind_functions(registry: Registry) -> list[str]:
    """Bind the functions for the SDK. If it isn't installed they are removed, and each is named in a line."""
    functions = list(list_functions(registry))
    if not functions:
        return []
    try:
        from durablecli.durabletask.sdk_binding import bind
    except ModuleNotFoundError as error:
        for each in functions:
            registry.remove(each)
        reason = f"is written for the durabletask SDK, which isn't installed (no module {error.name}): {INSTALL_HINT}"
        return [f"not run here: {each.name} ({each.source_location}) {reason}" for each in functions]
    bind(functions)
    return []
