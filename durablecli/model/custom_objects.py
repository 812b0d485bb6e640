"""Custom objects of an Azure app: written in an envelope that names their class, as Azure's codec does, and read back.

    {"__class__": "Parcel", "__module__": "function_app", "__data__": …}

This applies only to classes that the loaded app's own modules define, with both `to_json` and `from_json`. A payload
never causes an import: an object that names any other class stays plain JSON. The modules of the app are known to the
whole process, as `sys.modules` is.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Any

from msgspec import Raw

from durablecli.errors import Mismatch

_CLASS, _MODULE, _DATA = "__class__", "__module__", "__data__"
_ENVELOPE_MARKER = f'"{_CLASS}"'.encode()
APP_MODULES: list[Container[str]] = []
"""The module names of the loaded app, as one container; empty unless it is an Azure app."""


def set_app_modules(modules: Container[str]) -> None:
    """Write and read objects of these modules in envelopes."""
    APP_MODULES[:] = [modules]


def clear_app_modules() -> None:
    """Stop writing and reading envelopes."""
    APP_MODULES.clear()


def may_contain_envelope(raw: Raw | bytes) -> bool:
    """Whether a payload may contain an envelope."""
    return _ENVELOPE_MARKER in bytes(raw)


def wrap_in_envelope(kind: type, data: Any) -> Any:
    """Wrap the result of an object's `to_json` in an envelope, if its class has one."""
    module, name = kind.__module__, kind.__name__
    if not APP_MODULES or module not in APP_MODULES[0] or _find_app_class(module, name) is not kind:
        return data
    return {_CLASS: name, _MODULE: module, _DATA: data}


def find_envelope_class(value: Any, path: str) -> type | None:
    """Return the class that an envelope names, if it is the app's; None for any other value.

    Raises Mismatch if the module is the app's but has no such class.
    """
    if not (APP_MODULES and type(value) is dict and _CLASS in value and _MODULE in value and _DATA in value):
        return None
    module, name = value[_MODULE], value[_CLASS]
    if not (isinstance(module, str) and isinstance(name, str)) or module not in APP_MODULES[0]:
        return None
    kind = _find_app_class(module, name)
    if kind is None:
        raise Mismatch(path, f"the app has no class {module}.{name} with to_json and from_json")
    return kind


def envelope_data(envelope: dict[str, Any]) -> Any:
    """Return the data in an envelope, which is for `from_json`."""
    return envelope[_DATA]


def _find_app_class(module: str, name: str) -> type | None:
    """Return a class that this module itself defines, with both methods."""
    kind = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if not isinstance(kind, type) or kind.__module__ != module:
        return None
    both = callable(getattr(kind, "to_json", None)) and callable(getattr(kind, "from_json", None))
    return kind if both else None
