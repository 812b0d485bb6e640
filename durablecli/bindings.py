"""Bindings: what starts a function (its trigger), and what its parameters receive.

The decorators of an app note them on a function, and so does a `function.json`. A function whose trigger needs a cloud
service is known and listed, but never run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from durablecli.replay.function_marks import FunctionMark

RETURN_BINDING = "$return"
"""The name of the output binding whose value is the return value of the function."""

BINDINGS_ATTRIBUTE = "__durable_bindings__"
"""The attribute of a function that holds its bindings."""

_AUTH_LEVELS = ("ANONYMOUS", "FUNCTION", "ADMIN")
_DURABLE_TRIGGERS = {"orchestrationTrigger": "orchestrator", "activityTrigger": "activity", "entityTrigger": "entity"}
_NAME_PROPERTIES = {"orchestrator": "orchestration", "activity": "activity", "entity": "entityname"}
_CLIENT_BINDINGS = ("durableClient", "orchestrationClient")
_CANONICAL_TYPES = {
    type.lower(): type for type in (*_DURABLE_TRIGGERS, *_CLIENT_BINDINGS, "httpTrigger", "timerTrigger", "http")
}


class HttpTrigger(NamedTuple):
    """Started by an HTTP request. `route` defaults to the name of the function, `methods` to any method."""

    route: str | None
    methods: tuple[str, ...] | None
    auth_level: str
    argument: str = "req"

    def path(self, name: str, prefix: str) -> str:
        """The path of a function of this name, in an app whose routes begin with `prefix`."""
        parts = (prefix.strip("/").lower(), (name if self.route is None else self.route).strip("/"))
        return "/" + "/".join(part for part in parts if part)


class TimerTrigger(NamedTuple):
    """Started on a schedule: NCRONTAB with seconds, an interval `hh:mm:ss`, or a `%SETTING%` that holds one."""

    schedule: str
    argument: str
    run_on_startup: bool = False


class CloudTrigger(NamedTuple):
    """Started by a cloud service; `kind` is its type in function.json."""

    kind: str


Trigger = HttpTrigger | TimerTrigger | CloudTrigger


class FunctionBindings:
    """The trigger and the bindings of one function.

    `argument` is the parameter that receives the value of the trigger, `client` the one that receives the durable
    client. `cloud_bindings` maps the parameters that are bound to cloud services to the types of their bindings,
    `outputs` those of them that the function sets, with `$return` if its return value is an output. `response` is the
    parameter that an HTTP function sets its response on, or `$return`; None if no binding names one. The annotations of
    an `untyped` function are for readers: Azure passes values as they are.
    """

    def __init__(self, name: str, level: str | None = None, *, untyped: bool = False) -> None:
        self.name = name
        self.untyped = untyped
        self.kind = ""
        self.durable_name: str | None = None
        self.argument: str | None = None
        self.client: str | None = None
        self.cloud_bindings: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.response: str | None = None
        self._default_level = level
        self._trigger: Trigger | None = None
        self._explicit_level: str | None = None

    @property
    def trigger(self) -> Trigger | None:
        """Its trigger; None for orchestrators, activities and entities."""
        if isinstance(self._trigger, HttpTrigger):
            return self._trigger._replace(auth_level=self._explicit_level or self._default_level or "FUNCTION")
        return self._trigger

    @property
    def mark(self) -> FunctionMark:
        """The mark under which the registry and the contexts of orchestrators find the function."""
        return FunctionMark(self.kind or "other", self.durable_name or self.name, untyped=self.untyped)

    def set_app_level(self, level: str | None) -> None:
        """Set the auth level of the app, which holds if the function has none of its own."""
        self._default_level = level or self._default_level

    def add(self, type: str, argument: str, properties: Mapping[str, Any]) -> None:
        """Add a binding with its properties in function.json, in any case; `auth_level` is the same as `authLevel`."""
        type = _CANONICAL_TYPES.get(type.lower(), type)
        properties = {key.replace("_", "").lower(): value for key, value in properties.items()}
        if type in _DURABLE_TRIGGERS:
            self.durable_name = properties.get(_NAME_PROPERTIES[_DURABLE_TRIGGERS[type]]) or None
            if not isinstance(self._trigger, CloudTrigger):  # else it can't run here, whatever other trigger it has
                self.kind, self.argument = _DURABLE_TRIGGERS[type], argument
        elif type == "httpTrigger":
            self._set_trigger(
                "http",
                argument,
                HttpTrigger(properties.get("route"), _parse_methods(properties.get("methods")), "", argument),
            )
            self._explicit_level = parse_auth_level(properties.get("authlevel"))
        elif type == "timerTrigger":
            startup = bool(properties.get("runonstartup"))
            self._set_trigger("timer", argument, TimerTrigger(str(properties["schedule"]), argument, startup))
        elif type in _CLIENT_BINDINGS:
            self.client = argument
        elif type.lower().endswith("trigger"):
            self._set_trigger("other", argument, CloudTrigger(type))
        elif type == "http":
            self.response = argument
        else:
            self._add_cloud_binding(type, argument, properties.get("direction"))

    def _add_cloud_binding(self, type: str, argument: str, direction: object) -> None:
        self.cloud_bindings[argument] = type
        if argument == RETURN_BINDING or str(direction).lower() == "out":
            self.outputs[argument] = type

    def _set_trigger(self, kind: str, argument: str, trigger: Trigger) -> None:
        self.kind, self.argument, self._trigger = kind, argument, trigger


class FunctionCollection:
    """Functions that were declared together; the registry takes them in one by one."""

    def __init__(self) -> None:
        self.functions: list[Callable[..., Any]] = []


def get_bindings(function: object) -> FunctionBindings | None:
    """The bindings that decorators noted on a function, or None."""
    bindings = (
        vars(function).get(BINDINGS_ATTRIBUTE)
        if isinstance(function, type)
        else getattr(function, BINDINGS_ATTRIBUTE, None)
    )
    return bindings if isinstance(bindings, FunctionBindings) else None


def parse_auth_level(level: object) -> str | None:
    """Parse an auth level, from Azure's enumeration or its name in any case. Raises ValueError."""
    if level is None:
        return None
    word = str(level.value if isinstance(level, Enum) else level).upper()
    if word not in _AUTH_LEVELS:
        raise ValueError(f"invalid auth level {level!r}; use {', '.join(_AUTH_LEVELS)}")
    return word


def _parse_methods(value: object) -> tuple[str, ...] | None:
    if not value:
        return None
    methods: Iterable[object] = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return tuple(str(each.value if isinstance(each, Enum) else each).upper() for each in methods)
