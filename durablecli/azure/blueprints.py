"""The decorators of Azure's v2 programming model.

A decorator returns the function it is given, with the binding noted on it, so decorators stack in any order and the
function stays callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from durablecli.bindings import (
    BINDINGS_ATTRIBUTE,
    FunctionBindings,
    FunctionCollection,
    get_bindings,
    parse_auth_level,
)
from durablecli.entities.class_methods import check_entity
from durablecli.replay.function_marks import INPUT_TYPE_ATTRIBUTE, get_mark, set_mark

F = TypeVar("F", bound=Callable[..., Any])

# The decorators for bindings to cloud services, and their types in function.json.
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


class Blueprint(FunctionCollection):
    """Functions that are declared with the decorators of Azure's v2 programming model.

    In an `untyped` one annotations are for readers: Azure passes values as they are.
    """

    untyped = False

    def __init__(self, http_auth_level: object = None) -> None:
        super().__init__()
        self.http_auth_level = http_auth_level
        self._level = parse_auth_level(http_auth_level)

    def orchestration_trigger(
        self, context_name: str, orchestration: str | None = None, input_type: Any = None
    ) -> Callable[[F], F]:
        """Declare an orchestrator; `orchestration` overrides its name, and `get_input` gives an `input_type`."""
        decorate = self._make_decorator("orchestrationTrigger", context_name, orchestration=orchestration)

        def mark(function: F) -> F:
            if input_type is not None:
                setattr(function, INPUT_TYPE_ATTRIBUTE, input_type)
            return decorate(function)

        return mark

    def activity_trigger(self, input_name: str, activity: str | None = None) -> Callable[[F], F]:
        """Declare an activity; `activity` overrides its name."""
        return self._make_decorator("activityTrigger", input_name, activity=activity)

    def entity_trigger(self, context_name: str, entity_name: str | None = None) -> Callable[[F], F]:
        """Declare an entity; `entity_name` overrides its name."""

        def mark(function: F) -> F:
            check_entity(function, entity_name)
            return self._add_binding(function, "entityTrigger", context_name, {"entityName": entity_name})

        return mark

    def configure_scheduled_tasks(self) -> None:
        """Add what runs the schedules of `durabletask.scheduled.ScheduledTaskClient`."""
        from durabletask.scheduled.orchestrator import execute_schedule_operation_orchestrator
        from durabletask.scheduled.schedule_entity import ENTITY_NAME, Schedule

        self.entity_trigger("context", ENTITY_NAME)(Schedule)
        self.orchestration_trigger("context")(execute_schedule_operation_orchestrator)

    def durable_client_input(
        self, client_name: str, task_hub: str | None = None, connection_name: str | None = None
    ) -> Callable[[F], F]:
        """Pass the durable client of the hub to the parameter `client_name`."""
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
        """Declare an HTTP function, by default for any method, at the route of its name.

        Its response is its return value, or the value it sets on its parameter `binding_arg_name`.
        """
        properties = {"route": route, "methods": methods, "authLevel": auth_level}

        def mark(function: F) -> F:
            self._add_binding(function, "http", binding_arg_name, {})
            return self._add_binding(function, "httpTrigger", trigger_arg_name, properties)

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
        """Declare a timer function."""
        return self._make_decorator("timerTrigger", arg_name, schedule=schedule, runOnStartup=run_on_startup)

    schedule = timer_trigger

    def generic_trigger(self, arg_name: str, type: str, data_type: object = None, **more: object) -> Callable[[F], F]:
        """Declare a trigger by its type in function.json."""
        return self._make_decorator(type, arg_name, **more)

    def generic_input_binding(
        self, arg_name: str, type: str, data_type: object = None, **more: object
    ) -> Callable[[F], F]:
        """Declare an input binding by its type in function.json."""
        return self._make_decorator(type, arg_name, **more)

    def generic_output_binding(
        self, arg_name: str, type: str, data_type: object = None, **more: object
    ) -> Callable[[F], F]:
        """Declare an output binding by its type in function.json."""
        return self._make_decorator(type, arg_name, **more | {"direction": "out"})

    def function_name(self, name: str, setting_extra_fields: object = None) -> Callable[[F], F]:
        """Override the name of the function."""

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
        """Accepted and ignored: triggers call a function once."""
        return self._accept

    def http_type(self, http_type: str) -> Callable[[F], F]:
        """Accepted and ignored."""
        return self._accept

    def __getattr__(self, name: str) -> Callable[..., Callable[[F], F]]:
        """The decorators for bindings to cloud services."""
        for kinds, direction in ((_CLOUD_TRIGGERS, "in"), (_CLOUD_INPUTS, "in"), (_CLOUD_OUTPUTS, "out")):
            if name in kinds:
                return partial(self._make_cloud_decorator, kinds[name], direction)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _make_cloud_decorator(
        self, type: str, direction: str, arg_name: str = "", *arguments: object, **more: object
    ) -> Callable[[F], F]:
        return self._make_decorator(type, arg_name if isinstance(arg_name, str) else "", direction=direction)

    def _make_decorator(self, type: str, argument: str, **properties: object) -> Callable[[F], F]:
        def mark(function: F) -> F:
            return self._add_binding(function, type, argument, properties)

        return mark

    def _add_binding(self, function: F, type: str, argument: str, properties: Mapping[str, object]) -> F:
        bindings = self._ensure_bindings(function)
        bindings.add(type, argument, properties)
        return self._update_mark(function, bindings)

    def _accept(self, function: F) -> F:
        return self._update_mark(function, self._ensure_bindings(function))

    def _ensure_bindings(self, function: F) -> FunctionBindings:
        if not callable(function):
            raise TypeError(f"a trigger or a binding decorates a function, not {type(function).__name__}")
        bindings = get_bindings(function)
        if bindings is None:
            bindings = FunctionBindings(function.__name__, self._level, untyped=self.untyped)
            setattr(function, BINDINGS_ATTRIBUTE, bindings)
        # A decorator of the author's between ours passes on its own function, with the same bindings.
        self.functions = [each for each in self.functions if get_bindings(each) is not bindings]
        self.functions.append(function)
        return bindings

    def _update_mark(self, function: F, bindings: FunctionBindings) -> F:
        mark = get_mark(function)
        if mark is None:
            return set_mark(function, bindings.mark)
        return set_mark(function, bindings.mark._replace(executor=mark.executor, options=mark.options))


class DFApp(Blueprint):
    """The app of a `function_app.py`, which can include blueprints."""

    def __init__(self, http_auth_level: object = "FUNCTION") -> None:
        super().__init__(http_auth_level)

    def register_functions(self, blueprint: Blueprint) -> None:
        """Include the functions of a blueprint; those without an auth level of their own get that of the app."""
        for function in blueprint.functions:
            bindings = get_bindings(function)
            if bindings is not None:
                bindings.set_app_level(self._level)
            if not any(each is function for each in self.functions):
                self.functions.append(function)

    register_blueprint = register_functions
