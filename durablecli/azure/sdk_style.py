"""Whether the loaded app is written for the `durabletask` SDK: then clients return objects of the SDK's classes.

This is known to the whole process, as `sys.modules` is.
"""

from __future__ import annotations

_state = {"uses_sdk": False}


def set_uses_sdk(uses_sdk: bool) -> None:
    """Say whether the loaded app is written for the SDK."""
    _state["uses_sdk"] = uses_sdk


def uses_sdk() -> bool:
    """Whether the loaded app is written for the SDK."""
    return _state["uses_sdk"]
