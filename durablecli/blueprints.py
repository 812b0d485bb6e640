"""Azure's way to declare functions: an app's decorators, what each says about a function, and what it is bound to.

A decorator returns the function that it was given, with its bindings noted on it: so decorators stack in any order, and
the function stays callable. What starts a function (its trigger) makes it one of ours; one with a trigger that only the
cloud has is known and listed, and never run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, TypeVar

from durablecli.entities.class_methods import check_entity
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark, get_mark

F = TypeVar("F", bound=Callable[..., Any])

RETURN_BINDING = "$return"
"""The name of the output binding whose value is what the function returns."""

_BINDINGS_ATTRIBUTE = "__durable_bindings__"
_AUTH_LEVELS = ("ANONYMOUS", "FUNCTION", "ADMIN")
_DURABLE_TRIGGERS = {"orchestrationTrigger": "orchestrator", "activityTrigger": "activity", "entityTrigger": "entity"}
_NAME_PROPERTIES = {"orchestrator": "orchestration", "activity": "activity", "entity": "entityname"}
_CLIENT_BINDINGS = ("durableClient", "orchestrationClient")
_CANONICAL_TYPES = {
    type.lower(): type for type in (*_DURABLE_TRIGGERS, *_CLIENT_BINDINGS, "httpTrigger", "timerTrigger", "http")
}

# The decorators of what only the cloud has, and what function.json calls each of them.
_CLOUD_TRIGGERS = {
    "assistant_skill_trigger": "assistantSkillTrigger",
    "blob_trigger": "blobTrigger",
    "connector_trigger": "connectorTrigger",
    "cosmos_db_trigger": "cosmosDBTrigger",
    "cosmos_db_trigger_v3": "cosmosDBTrigger",
    "dapr_binding_trigger": "daprBindingTrigger",
    "dapr_service_invocation_trigger": "daprServiceInvocationTrigger",
    "dapr_topic_trigger": "daprTopicTrigger",
    "event_grid_trigger": "eventGridTrigger",
    "event_hub_message_trigger": "eventHubTrigger",
    "kafka_trigger": "kafkaTrigger",
    "mcp_prompt_trigger": "mcpPromptTrigger",
    "mcp_resource_trigger": "mcpResourceTrigger",
    "mcp_tool": "mcpToolTrigger",
    "mcp_tool_trigger": "mcpToolTrigger",
    "mysql_trigger": "mysqlTrigger",
    "queue_trigger": "queueTrigger",
    "service_bus_queue_trigger": "serviceBusTrigger",
    "service_bus_topic_trigger": "serviceBusTrigger",
    "sql_trigger": "sqlTrigger",
    "warm_up_trigger": "warmupTrigger",
}
_CLOUD_INPUTS = {
    "assistant_post_input": "assistantPost",
    "assistant_query_input": "assistantQuery",
    "blob_input": "blob",
    "cosmos_db_input": "cosmosDB",
    "cosmos_db_input_v3": "cosmosDB",
    "dapr_secret_input": "daprSecret",
    "dapr_state_input": "daprState",
    "embeddings_input": "embeddings",
    "mcp_tool_property": "mcpToolProperty",
    "mysql_input": "mysql",
    "semantic_search_input": "semanticSearch",
    "sql_input": "sql",
    "table_input": "table",
    "text_completion_input": "textCompletion",
}
_CLOUD_OUTPUTS = {
    "assistant_create_output": "assistantCreate",
    "blob_output": "blob",
    "cosmos_db_output": "cosmosDB",
    "cosmos_db_output_v3": "cosmosDB",
    "dapr_binding_output": "daprBinding",
    "dapr_invoke_output": "daprInvoke",
    "dapr_publish_output": "daprPublish",
    "dapr_state_output": "daprState",
    "embeddings_store_output": "embeddingsStore",
    "event_grid_output": "eventGrid",
    "event_hub_output": "eventHub",
    "kafka_output": "kafka",
    "mysql_output": "mysql",
    "queue_output": "queue",
    "service_bus_queue_output": "serviceBus",
    "service_bus_topic_output": "serviceBus",
    "sql_output": "sql",
    "table_output": "table",
}


# What a function is bound to.


class HttpTrigger(NamedTuple):
    """Started by a request. `route` None means the function's name, `methods` None means any method."""

    route: str | None
    methods: tuple[str, ...] | None
    auth_level: str
    argument: str = "req"

    def path(self, name: str, prefix: str) -> str:
        """Where a function of this name is reached, in an app whose routes begin with `prefix`."""
        parts = (prefix.strip("/").lower(), (name if self.route is None else self.route).strip("/"))
        return "/" + "/".join(part for part in parts if part)


class TimerTrigger(NamedTuple):
    """Started by the clock: `schedule` is NCRONTAB with seconds, `hh:mm:ss`, or a `%SETTING%` that holds one."""

    schedule: str
    argument: str
    run_on_startup: bool = False


class CloudTrigger(NamedTuple):
    """Started by something that only the cloud has; `kind` is what function.json calls it."""

    kind: str


Trigger = HttpTrigger | TimerTrigger | CloudTrigger


class FunctionBindings:
    """What is known of one function: what starts it, and what its parameters receive.

    `argument` is the parameter that receives what started it, `client` the one that receives the durable client;
    `others` are the parameters that receive what only the cloud has, each with the kind of its binding. `outputs` are
    those of `others` that the function sets, and `$return` where its return value is one. `response` is the parameter
    that an HTTP function sets its response on, or `$return`; None where no binding says so.
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
        """What starts it; None for orchestrators, activities and entities."""
        if isinstance(self._trigger, HttpTrigger):
            return self._trigger._replace(auth_level=self._explicit_level or self._default_level or "FUNCTION")
        return self._trigger

    @property
    def mark(self) -> FunctionMark:
        """What the registry and the context of an orchestrator know it by."""
        return FunctionMark(self.kind or "other", self.durable_name or self.name, untyped=self.untyped)

    def set_app_level(self, level: str | None) -> None:
        """An app took it in: the level of the app holds where the function names none."""
        self._default_level = level or self._default_level

    def add(self, type: str, argument: str, given: Mapping[str, Any]) -> None:
        """Take in one binding, as function.json writes it: in any case. A decorator may write `auth_level`."""
        type = _CANONICAL_TYPES.get(type.lower(), type)
        given = {key.replace("_", "").lower(): value for key, value in given.items()}
        if type in _DURABLE_TRIGGERS:
            self.durable_name = given.get(_NAME_PROPERTIES[_DURABLE_TRIGGERS[type]]) or None
            if not isinstance(self._trigger, CloudTrigger):  # what can't run here can't run by another name
                self.kind, self.argument = _DURABLE_TRIGGERS[type], argument
        elif type == "httpTrigger":
            self._set_trigger(
                "http", argument, HttpTrigger(given.get("route"), _parse_methods(given.get("methods")), "", argument)
            )
            self._explicit_level = parse_auth_level(given.get("authlevel"))
        elif type == "timerTrigger":
            startup = bool(given.get("runonstartup"))
            self._set_trigger("timer", argument, TimerTrigger(str(given["schedule"]), argument, startup))
        elif type in _CLIENT_BINDINGS:
            self.client = argument
        elif type.lower().endswith("trigger"):
            self._set_trigger("other", argument, CloudTrigger(type))
        elif type == "http":
            self.response = argument
        else:
            self._add_cloud_binding(type, argument, given.get("direction"))

    def _add_cloud_binding(self, type: str, argument: str, direction: object) -> None:
        self.cloud_bindings[argument] = type
        if argument == RETURN_BINDING or str(direction).lower() == "out":
            self.outputs[argument] = type

    def _set_trigger(self, kind: str, argument: str, trigger: Trigger) -> None:
        self.kind, self.argument, self._trigger = kind, argument, trigger


def get_bindings(function: object) -> FunctionBindings | None:
    """What the decorators of an app noted on a function, or None."""
    found = (
        vars(function).get(_BINDINGS_ATTRIBUTE)
        if isinstance(function, type)
        else getattr(function, _BINDINGS_ATTRIBUTE, None)
    )
    return found if isinstance(found, FunctionBindings) else None


def parse_auth_level(given: object) -> str | None:
    """`ANONYMOUS`, `FUNCTION` or `ADMIN`, from the enumeration or its word in any case. Raises ValueError."""
    if given is None:
        return None
    word = str(given.value if isinstance(given, Enum) else given).upper()
    if word not in _AUTH_LEVELS:
        raise ValueError(f"{given!r} is no auth level: choose from {', '.join(_AUTH_LEVELS)}")
    return word


def _parse_methods(given: object) -> tuple[str, ...] | None:
    if not given:
        return None
    several: Iterable[object] = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return tuple(str(one.value if isinstance(one, Enum) else one).upper() for one in several)


# The decorators.


class Blueprint:
    """A set of functions, declared with the decorators of Azure's v2 programming model.

    The annotations of a `loose` one are for readers: Azure passes values as they are.
    """

    untyped = False

    def __init__(self, http_auth_level: object = None) -> None:
        self.http_auth_level = http_auth_level
        self.functions: list[Callable[..., Any]] = []
        self._level = parse_auth_level(http_auth_level)

    def orchestration_trigger(
        self, context_name: str, orchestration: str | None = None, input_type: Any = None
    ) -> Callable[[F], F]:
        """Declare an orchestrator; `orchestration` names it otherwise than the function."""
        return self._make_decorator("orchestrationTrigger", context_name, orchestration=orchestration)

    def activity_trigger(self, input_name: str, activity: str | None = None) -> Callable[[F], F]:
        """Declare an activity; `activity` names it otherwise than the function."""
        return self._make_decorator("activityTrigger", input_name, activity=activity)

    def entity_trigger(self, context_name: str, entity_name: str | None = None) -> Callable[[F], F]:
        """Declare an entity; `entity_name` names it otherwise than the function."""

        def mark(function: F) -> F:
            check_entity(function, entity_name)
            return self._add_binding(function, "entityTrigger", context_name, {"entityName": entity_name})

        return mark

    def durable_client_input(
        self, client_name: str, task_hub: str | None = None, connection_name: str | None = None
    ) -> Callable[[F], F]:
        """Give the function the client of the hub, as the parameter `client_name`."""
        return self._make_decorator("durableClient", client_name)

    def route(
        self,
        route: str | None = None,
        trigger_arg_name: str = "req",
        binding_arg_name: str = "$return",
        methods: object = None,
        auth_level: object = None,
        trigger_extra_fields: object = None,
        binding_extra_fields: object = None,
    ) -> Callable[[F], F]:
        """Start the function by requests at this route, by default its name, with these methods, by default any.

        The response is what it returns, or what it sets on its parameter `binding_arg_name`.
        """
        given = {"route": route, "methods": methods, "authLevel": auth_level}

        def mark(function: F) -> F:
            self._add_binding(function, "http", binding_arg_name, {})
            return self._add_binding(function, "httpTrigger", trigger_arg_name, given)

        return mark

    def timer_trigger(
        self,
        arg_name: str,
        schedule: str,
        run_on_startup: bool | None = None,
        use_monitor: bool | None = None,
        data_type: object = None,
        **more: object,
    ) -> Callable[[F], F]:
        """Start the function by the clock."""
        return self._make_decorator("timerTrigger", arg_name, schedule=schedule, runOnStartup=run_on_startup)

    schedule = timer_trigger

    def generic_trigger(self, arg_name: str, type: str, data_type: object = None, **more: object) -> Callable[[F], F]:
        """Declare a trigger by the words of function.json."""
        return self._make_decorator(type, arg_name, **more)

    def generic_input_binding(
        self, arg_name: str, type: str, data_type: object = None, **more: object
    ) -> Callable[[F], F]:
        """Declare an input by the words of function.json."""
        return self._make_decorator(type, arg_name, **more)

    def generic_output_binding(
        self, arg_name: str, type: str, data_type: object = None, **more: object
    ) -> Callable[[F], F]:
        """Declare an output by the words of function.json."""
        return self._make_decorator(type, arg_name, **more | {"direction": "out"})

    def function_name(self, name: str, setting_extra_fields: object = None) -> Callable[[F], F]:
        """Name the function otherwise than in Python."""

        def mark(function: F) -> F:
            bindings = self._ensure_bindings(function)
            bindings.name = name
            return self._update_mark(function, bindings)

        return mark

    def durable_openai_agent_orchestrator(self, _func: Callable[..., Any] | None = None, **more: object) -> Any:
        """Declare an orchestrator of OpenAI agents, which isn't run here: it needs the library of the agents."""
        mark = self._make_decorator("openAIAgentTrigger", "")
        return mark if _func is None else mark(_func)

    def retry(self, *arguments: object, **more: object) -> Callable[[F], F]:
        """Accepted: what starts a function here tries it once."""
        return self._accept

    def http_type(self, http_type: str) -> Callable[[F], F]:
        """Accepted: it says nothing that matters here."""
        return self._accept

    def __getattr__(self, name: str) -> Callable[..., Callable[[F], F]]:
        """The decorators of what only the cloud has."""
        for kinds, direction in ((_CLOUD_TRIGGERS, "in"), (_CLOUD_INPUTS, "in"), (_CLOUD_OUTPUTS, "out")):
            if name in kinds:
                return partial(self._make_cloud_decorator, kinds[name], direction)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _make_cloud_decorator(
        self, type: str, direction: str, arg_name: str = "", *arguments: object, **more: object
    ) -> Callable[[F], F]:
        return self._make_decorator(type, arg_name if isinstance(arg_name, str) else "", direction=direction)

    def _make_decorator(self, type: str, argument: str, **given: object) -> Callable[[F], F]:
        def mark(function: F) -> F:
            return self._add_binding(function, type, argument, given)

        return mark

    def _add_binding(self, function: F, type: str, argument: str, given: Mapping[str, object]) -> F:
        bindings = self._ensure_bindings(function)
        bindings.add(type, argument, given)
        return self._update_mark(function, bindings)

    def _accept(self, function: F) -> F:
        return self._update_mark(function, self._ensure_bindings(function))

    def _ensure_bindings(self, function: F) -> FunctionBindings:
        if not callable(function):
            raise TypeError(f"a trigger or a binding decorates a function, not {type(function).__name__}")
        bindings = get_bindings(function)
        if bindings is None:
            bindings = FunctionBindings(function.__name__, self._level, untyped=self.untyped)
            setattr(function, _BINDINGS_ATTRIBUTE, bindings)
        # A decorator of the author's between ours hands its own function on, and what was noted with it.
        self.functions = [each for each in self.functions if get_bindings(each) is not bindings]
        self.functions.append(function)
        return bindings

    def _update_mark(self, function: F, bindings: FunctionBindings) -> F:
        found = get_mark(function)
        executor, most = (found.executor, found.max_concurrency) if found else (None, None)
        setattr(function, MARK_ATTRIBUTE, bindings.mark._replace(executor=executor, max_concurrency=most))
        return function


class DFApp(Blueprint):
    """The app of a `function_app.py`: a blueprint that takes in others."""

    def __init__(self, http_auth_level: object = "FUNCTION") -> None:
        super().__init__(http_auth_level)

    def register_functions(self, blueprint: Blueprint) -> None:
        """Take in all functions of a blueprint; those that name no level of their own get the app's."""
        for function in blueprint.functions:
            bindings = get_bindings(function)
            if bindings is not None:
                bindings.set_app_level(self._level)
            if not any(each is function for each in self.functions):
                self.functions.append(function)

    register_blueprint = register_functions
