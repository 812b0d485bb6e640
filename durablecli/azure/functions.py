"""What an app imports as `azure.functions`: requests and responses, apps and their decorators, and all other names.

What belongs to triggers and bindings that only the cloud has is there to be named in annotations and to be made:
nothing is ever delivered to it.
"""

from __future__ import annotations

import json
from collections import UserDict, UserList
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from io import BytesIO
from threading import local
from typing import Any, Generic, TypeVar

from durablecli import blueprints
from durablecli.azure.http_types import HttpRequest, HttpResponse

__all__ = [
    "AccessRights",
    "AppExtensionBase",
    "AsgiFunctionApp",
    "AsgiMiddleware",
    "AuthLevel",
    "BindingApi",
    "BlobSource",
    "Blueprint",
    "Cardinality",
    "CloudEvent",
    "Context",
    "DataType",
    "DecoratorApi",
    "Document",
    "DocumentList",
    "EntityContext",
    "EventGridEvent",
    "EventGridOutputEvent",
    "EventHubEvent",
    "ExtensionMeta",
    "ExternalHttpFunctionApp",
    "FuncExtensionBase",
    "Function",
    "FunctionApp",
    "FunctionExtensionException",
    "FunctionRegister",
    "HttpMethod",
    "HttpRequest",
    "HttpResponse",
    "InputStream",
    "KafkaConverter",
    "KafkaEvent",
    "KafkaTriggerConverter",
    "MCPToolContext",
    "McpPropertyType",
    "MySqlRow",
    "MySqlRowList",
    "OrchestrationContext",
    "Out",
    "PromptArgument",
    "PromptInvocationContext",
    "QueueMessage",
    "ServiceBusMessage",
    "SettingsApi",
    "SqlRow",
    "SqlRowList",
    "TimerRequest",
    "TriggerApi",
    "WarmUpContext",
    "WsgiFunctionApp",
    "WsgiMiddleware",
    "get_binding_registry",
    "mcp_content",
]

T = TypeVar("T")


class _NamedEnum(Enum):
    """A word of function.json."""

    def __str__(self) -> str:
        return str(self.name)


class AuthLevel(_NamedEnum):
    """Who may call an HTTP function: anyone, who has a key of the function or the host, who has the master key."""

    FUNCTION = "function"
    ANONYMOUS = "anonymous"
    ADMIN = "admin"


class HttpMethod(_NamedEnum):
    """The verbs of HTTP."""

    GET = "GET"
    POST = "POST"
    DELETE = "DELETE"
    HEAD = "HEAD"
    PATCH = "PATCH"
    PUT = "PUT"
    OPTIONS = "OPTIONS"


class DataType(_NamedEnum):
    """How a binding's data is passed on."""

    UNDEFINED = 0
    STRING = 1
    BINARY = 2
    STREAM = 3


class Cardinality(_NamedEnum):
    """Whether messages come one by one."""

    ONE = "one"
    MANY = "many"


class AccessRights(_NamedEnum):
    """What a connection string allows."""

    MANAGE = "manage"
    LISTEN = "listen"


class BlobSource(_NamedEnum):
    """Where a blob trigger learns of blobs."""

    EVENT_GRID = "EventGrid"
    LOGS_AND_CONTAINER_SCAN = "LogsAndContainerScan"


class McpPropertyType(Enum):
    """The types of a tool's properties."""

    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    BOOLEAN = "boolean"
    OBJECT = "object"
    DATETIME = "datetime"


# What functions receive.


class Context:
    """Of one call of a function: its id, and the function's name and folder."""

    def __init__(self, function_name: str = "", invocation_id: str = "", function_directory: str = "") -> None:
        self.function_name = function_name
        self.invocation_id = invocation_id
        self.function_directory = function_directory
        self.thread_local_storage = local()
        self.trace_context = TraceContext()
        self.retry_context: Any = None


class TraceContext:
    """Where a call stands in a trace; here it stands in none."""

    def __init__(self, trace_parent: str = "", trace_state: str = "", attributes: dict[str, str] | None = None) -> None:
        self.trace_parent = trace_parent
        self.trace_state = trace_state
        self.attributes = attributes or {}


class TimerRequest:
    """What a timer function receives; `past_due` says that the call comes late."""

    def __init__(
        self,
        *,
        past_due: bool = False,
        schedule_status: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
    ) -> None:
        self.past_due = past_due
        self.schedule_status = schedule_status or {}
        self.schedule = schedule or {}


class Out(Generic[T]):
    """Where a function puts what goes out by a binding."""

    def __init__(self) -> None:
        self._value: T | None = None

    def set(self, val: T) -> None:
        """Put a value."""
        self._value = val

    def get(self) -> T | None:
        """What was put last."""
        return self._value


# Apps.


class Blueprint(blueprints.Blueprint):
    """A set of functions that an app takes in."""

    untyped = True


class FunctionRegister(blueprints.DFApp):
    """What takes functions in."""

    untyped = True

    def __init__(self, auth_level: object = AuthLevel.FUNCTION, *arguments: object, **more: object) -> None:
        super().__init__(auth_level)

    @property
    def auth_level(self) -> AuthLevel:
        """Who may call the functions that name no level of their own."""
        return AuthLevel[self._level or "FUNCTION"]

    def get_functions(self) -> list[Function]:
        """All functions, as tests of apps ask for them."""
        return [Function(function) for function in self.functions]


class FunctionApp(FunctionRegister):
    """The app of a `function_app.py`."""

    def __init__(self, http_auth_level: object = AuthLevel.FUNCTION) -> None:
        super().__init__(http_auth_level)


DecoratorApi = TriggerApi = BindingApi = SettingsApi = Blueprint


class ExternalHttpFunctionApp(FunctionRegister):
    """An app of another framework, which isn't run here."""

    kind = "external HTTP app"

    def __init__(
        self, app: Any = None, http_auth_level: object = AuthLevel.FUNCTION, function_name: str = "http_app_func"
    ) -> None:
        super().__init__(http_auth_level)

        def run(req: HttpRequest) -> None: ...

        self.function_name(function_name)(self.generic_trigger("req", f"{self.kind}Trigger")(run))


class AsgiFunctionApp(ExternalHttpFunctionApp):
    """An ASGI app in a function."""

    kind = "asgiApp"


class WsgiFunctionApp(ExternalHttpFunctionApp):
    """A WSGI app in a function."""

    kind = "wsgiApp"


class Function:
    """A function of an app."""

    def __init__(self, func: Callable[..., Any], script_file: str | None = None) -> None:
        self._function = func

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        return self._function(*arguments, **more)

    def get_user_function(self) -> Callable[..., Any]:
        """The function as its author wrote it."""
        return self._function

    def get_function_name(self) -> str:
        """Its name in the app."""
        found = blueprints.get_bindings(self._function)
        return found.name if found else self._function.__name__

    def is_http_function(self) -> bool:
        """Whether requests start it."""
        found = blueprints.get_bindings(self._function)
        return found is not None and found.kind == "http"


class FunctionBuilder(Function):
    """A function that is being declared: here it is what it will be."""

    def build(self, auth_level: AuthLevel | None = None) -> Function:
        """The function."""
        return self


# What only the cloud has.


class CloudOnly:
    """Can be made and asked for what it was made of."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        self.arguments = arguments
        vars(self).update(attributes)


class _Message(CloudOnly):
    """Something with a body."""

    def get_body(self) -> Any:
        return vars(self).get("body", next(iter(self.arguments), None))

    def get_json(self) -> Any:
        body = self.get_body()
        return json.loads(body) if isinstance(body, str | bytes) else vars(self).get("data")


class _Row(UserDict[str, Any]):
    """A record with named fields."""

    @classmethod
    def from_json(cls, json_data: str) -> Any:
        return cls(json.loads(json_data))

    @classmethod
    def from_dict(cls, dct: dict[str, Any]) -> Any:
        return cls(dct)

    def to_json(self) -> str:
        return json.dumps(self.data)

    def to_dict(self) -> dict[str, Any]:
        return dict(self.data)


class Document(_Row): ...


class SqlRow(_Row): ...


class MySqlRow(_Row): ...


class DocumentList(UserList[Any]): ...


class SqlRowList(UserList[Any]): ...


class MySqlRowList(UserList[Any]): ...


class InputStream(BytesIO):
    """The content of a blob."""

    name: str | None = None
    uri: str | None = None
    length: int | None = None


class CloudEvent(_Message): ...


class EventGridEvent(_Message): ...


class EventGridOutputEvent(_Message): ...


class EventHubEvent(_Message): ...


class KafkaEvent(_Message): ...


class QueueMessage(_Message):
    """A message of a queue, as tests of apps make it."""

    id: str | None = None
    dequeue_count: int | None = None
    expiration_time: datetime | None = None
    insertion_time: datetime | None = None
    time_next_visible: datetime | None = None
    pop_receipt: str | None = None

    def get_body(self) -> bytes:
        body: str | bytes = super().get_body() or b""
        return body.encode() if isinstance(body, str) else bytes(body)


class ServiceBusMessage(_Message): ...


class EntityContext(CloudOnly): ...


class OrchestrationContext(CloudOnly): ...


class MCPToolContext(dict[str, Any]): ...


class PromptInvocationContext(CloudOnly): ...


class PromptArgument(CloudOnly): ...


class WarmUpContext(CloudOnly): ...


class KafkaConverter(CloudOnly): ...


class KafkaTriggerConverter(CloudOnly): ...


class AsgiMiddleware(CloudOnly): ...


class WsgiMiddleware(CloudOnly): ...


class ExtensionMeta(type):
    """The type of extensions of the worker, which have no worker here."""


class FuncExtensionBase(metaclass=ExtensionMeta): ...


class AppExtensionBase(metaclass=ExtensionMeta): ...


class FunctionExtensionException(Exception): ...


def get_binding_registry() -> None:
    """There is none: nothing is converted here."""


def mcp_content(kind: T) -> T:
    """Accepted: no tool is called here."""
    return kind
