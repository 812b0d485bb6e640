"""The stand-in for the package `azure.functions`: its apps, and all its names.

The decorators are in `blueprints.py`, HTTP requests and responses in `http_types.py`.

Classes for triggers and bindings of cloud services exist to be used in annotations and constructed. No function ever
receives one.
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

from durablecli.azure import blueprints
from durablecli.azure.http_types import HttpRequest, HttpResponse
from durablecli.bindings import get_bindings

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
    """An enumeration whose members read as their names."""

    def __str__(self) -> str:
        return str(self.name)


class AuthLevel(_NamedEnum):
    """The key that calls of an HTTP function need: a function or host key, none, or the master key."""

    FUNCTION = "function"
    ANONYMOUS = "anonymous"
    ADMIN = "admin"


class HttpMethod(_NamedEnum):
    """The methods of HTTP."""

    GET = "GET"
    POST = "POST"
    DELETE = "DELETE"
    HEAD = "HEAD"
    PATCH = "PATCH"
    PUT = "PUT"
    OPTIONS = "OPTIONS"


class DataType(_NamedEnum):
    """The form in which a binding passes data."""

    UNDEFINED = 0
    STRING = 1
    BINARY = 2
    STREAM = 3


class Cardinality(_NamedEnum):
    """Whether messages are delivered singly or in batches."""

    ONE = "one"
    MANY = "many"


class AccessRights(_NamedEnum):
    """The rights that a connection string gives."""

    MANAGE = "manage"
    LISTEN = "listen"


class BlobSource(_NamedEnum):
    """The source from which a blob trigger learns of new blobs."""

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


# The arguments of functions.


class Context:
    """The context of one call: its id, and the name and folder of the function."""

    def __init__(self, function_name: str = "", invocation_id: str = "", function_directory: str = "") -> None:
        self.function_name = function_name
        self.invocation_id = invocation_id
        self.function_directory = function_directory
        self.thread_local_storage = local()
        self.trace_context = TraceContext()
        self.retry_context: Any = None


class TraceContext:
    """The trace of a call; empty here."""

    def __init__(self, trace_parent: str = "", trace_state: str = "", attributes: dict[str, str] | None = None) -> None:
        self.trace_parent = trace_parent
        self.trace_state = trace_state
        self.attributes = attributes or {}


class TimerRequest:
    """The argument of a timer function; `past_due` means that the call is late."""

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
    """The value of an output binding."""

    def __init__(self) -> None:
        self._value: T | None = None

    def set(self, val: T) -> None:
        """Set the value."""
        self._value = val

    def get(self) -> T | None:
        """The value that was set last."""
        return self._value


# Apps.


class Blueprint(blueprints.Blueprint):
    """Functions that an app includes."""

    untyped = True


class FunctionRegister(blueprints.DFApp):
    """An app or another collection that functions are registered with."""

    untyped = True

    def __init__(self, auth_level: object = AuthLevel.FUNCTION, *arguments: object, **more: object) -> None:
        super().__init__(auth_level)

    @property
    def auth_level(self) -> AuthLevel:
        """The auth level of functions without one of their own."""
        return AuthLevel[self._level or "FUNCTION"]

    def get_functions(self) -> list[Function]:
        """All functions, for the tests of an app."""
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
        found = get_bindings(self._function)
        return found.name if found else self._function.__name__

    def is_http_function(self) -> bool:
        """Whether it is an HTTP function."""
        found = get_bindings(self._function)
        return found is not None and found.kind == "http"


class FunctionBuilder(Function):
    """A function that is being declared; here it is complete from the start."""

    def build(self, auth_level: AuthLevel | None = None) -> Function:
        """The function."""
        return self


# Objects of cloud services.


class CloudOnly:
    """An object that only keeps the arguments it is constructed with."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        self.arguments = arguments
        vars(self).update(attributes)


class _Message(CloudOnly):
    """An object with a body."""

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
    """A queue message, as the tests of an app construct it."""

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
    """The metaclass of worker extensions, which have no effect here."""


class FuncExtensionBase(metaclass=ExtensionMeta): ...


class AppExtensionBase(metaclass=ExtensionMeta): ...


class FunctionExtensionException(Exception): ...


def get_binding_registry() -> None:
    """None: no values are converted here."""


def mcp_content(kind: T) -> T:
    """Accepted and ignored: no tools are called here."""
    return kind
