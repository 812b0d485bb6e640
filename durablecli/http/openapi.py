"""The management API as an OpenAPI document: what may be asked, and every answer to it."""

from __future__ import annotations

from functools import cache
from typing import Any

from durablecli.http.requests import CONTINUATION, LARGEST_PAGE
from durablecli.management_links import BASE
from durablecli.model.ids import MAX_ID_LENGTH
from durablecli.model.status import OrchestrationRuntimeStatus

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_TIME: Json = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Json = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_SECONDS: Json = {"type": "number", "minimum": 0, "maximum": 86400}
_ID: Json = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": r"^[^@/\\#?\x00-\x1f\x7f-\x9f]"}
_NAME: Json = {"type": "string", "minLength": 1}
_STATUS: Json = {"type": "string", "enum": [status.value for status in OrchestrationRuntimeStatus]}
_PAGE: Json = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 100}

_LINKS = (
    "statusQueryGetUri",
    "sendEventPostUri",
    "terminatePostUri",
    "purgeHistoryDeleteUri",
    "restartPostUri",
    "suspendPostUri",
    "resumePostUri",
)


@cache
def document() -> Json:
    """The document. It is the same for every hub."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "durablecli",
            "version": "1",
            "description": "The management API of Durable Functions: orchestrations and entities of one hub.",
        },
        "paths": {**{f"{BASE}/{path}": each for path, each in _paths().items()}, **_short_start()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "query": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
        "security": [{}, {"header": []}, {"query": []}],
    }


# ── paths ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _paths() -> dict[str, Json]:
    event = {"post": _raise_event()}
    return {
        "orchestrators/{functionName}": {"post": _start("functionName")},
        "orchestrators/{functionName}/{instanceId}": {"post": _start("functionName", "instanceId")},
        "instances/{instanceId}": {"get": _status(), "delete": _purge()},
        "instances": {"get": _list(), "delete": _purge_many()},
        "instances/{instanceId}/raiseEvent/{eventName}": event,
        **{f"instances/{{instanceId}}/{verb}": {"post": _told(verb)} for verb in ("terminate", "suspend", "resume")},
        "instances/{instanceId}/rewind": {"post": _told("rewind", conflict=True)},
        "instances/{instanceId}/restart": {"post": _restart()},
        "entities": {"get": _list_entities()},
        "entities/{entityName}": {"get": _list_entities("entityName")},
        "entities/{entityName}/{entityKey}": {"get": _entity(), "post": _signal(), "delete": _delete_entity()},
        "openapi.json": {"get": _operation("This document.", {200: _answer({"type": "object"})})},
    }


def _short_start() -> dict[str, Json]:
    return {"/api/orchestrators/{name}": {"post": _start("name")}}


def _start(*given: str) -> Json:
    return _operation(
        "Start an orchestration. With timeout and pollingInterval the answer waits for its end.",
        _started() | ({409: _ERROR} if "instanceId" in given else {}),
        path=given,
        query={"timeout": _SECONDS, "pollingInterval": _SECONDS, "version": _NAME},
        body=({}, False),
    )


def _started() -> dict[int, Json]:
    links = _answer({"$ref": "#/components/schemas/CheckStatus"}, {"Location": _TEXT, "Retry-After": _TEXT})
    return {202: links, 200: _answer({}, text="It has ended: its output if it is Completed, else its status.")}


def _status() -> Json:
    status = {"$ref": "#/components/schemas/Status"}
    failed = {"anyOf": [status, {"$ref": "#/components/schemas/Error"}]}
    return _operation(
        "How an instance stands: 202 while it runs, 200 when it has ended.",
        {
            200: _answer(status),
            202: _answer(status, {"Location": _TEXT, "Retry-After": _TEXT}),
            409: _ERROR,
            500: _answer(failed, text="It has failed, if asked so."),
        },
        path=["instanceId"],
        query=dict.fromkeys(
            ("showHistory", "showHistoryOutput", "showInput", "showWaiting", "returnInternalServerErrorOnFailure"),
            _FLAG,
        ),
    )


def _list() -> Json:
    return _operation(
        "One page of instances, the oldest first.",
        {200: _answer({"type": "array", "items": {"$ref": "#/components/schemas/Status"}}, {CONTINUATION: _TEXT})},
        query={
            "instanceIdPrefix": _NAME,
            "createdTimeFrom": _TIME,
            "createdTimeTo": _TIME,
            "runtimeStatus": {"type": "array", "items": _STATUS},
            "showInput": _FLAG,
            "showWaiting": _FLAG,
            "top": _PAGE,
        },
        header={CONTINUATION: _TEXT},
    )


def _purge() -> Json:
    return _operation("Take an ended instance away.", {200: _DELETED, 404: _ERROR, 409: _ERROR}, path=["instanceId"])


def _purge_many() -> Json:
    return _operation(
        "Take away the ended instances that fit; 404 if there is none. At least one filter must be given.",
        {200: _DELETED, 404: _ERROR},
        query={
            "createdTimeFrom": _TIME,
            "createdTimeTo": _TIME,
            "runtimeStatus": {"type": "array", "items": _STATUS},
        },
    )


def _raise_event() -> Json:
    return _operation(
        "Send an external event.",
        {202: _NOTHING, 404: _ERROR, 410: _ERROR},
        path=["instanceId", "eventName"],
        body=({}, True),
    )


def _told(verb: str, *, conflict: bool = False) -> Json:
    return _operation(
        f"{verb.capitalize()} an instance.",
        {202: _NOTHING, 404: _ERROR, 410: _ERROR} | ({409: _ERROR} if conflict else {}),
        path=["instanceId"],
        query={"reason": _NAME},
    )


def _restart() -> Json:
    return _operation(
        "Start an instance once more, under a new id or its own.",
        {**_started(), 404: _ERROR, 409: _ERROR},
        path=["instanceId"],
        query={"restartWithNewInstanceId": _FLAG, "timeout": _SECONDS, "pollingInterval": _SECONDS},
    )


def _list_entities(*given: str) -> Json:
    return _operation(
        "One page of the entities that have a state.",
        {200: _answer({"type": "array", "items": {"$ref": "#/components/schemas/Entity"}}, {CONTINUATION: _TEXT})},
        path=given,
        query={"lastOperationTimeFrom": _TIME, "lastOperationTimeTo": _TIME, "fetchState": _FLAG, "top": _PAGE},
        header={CONTINUATION: _TEXT},
    )


def _entity() -> Json:
    return _operation("The state of an entity.", {200: _answer({}), 404: _ERROR}, path=["entityName", "entityKey"])


def _signal() -> Json:
    return _operation(
        "Send an operation that nobody waits for.",
        {202: _NOTHING},
        path=["entityName", "entityKey"],
        query={"op": _TEXT},
        required=("op",),
        body=({}, False),
    )


def _delete_entity() -> Json:
    return _operation(
        "Take the state of an entity away.", {202: _NOTHING, 404: _ERROR}, path=["entityName", "entityKey"]
    )


# ── the parts of an operation ──────────────────────────────────────────────────────────────────────────────────────


def _answer(schema: Json, headers: dict[str, Json] | None = None, text: str = "As asked.") -> Json:
    found: Json = {"description": text, "content": {"application/json": {"schema": schema}}}
    if headers:
        found["headers"] = {name: {"schema": schema} for name, schema in headers.items()}
    return found


_NOTHING: Json = {"description": "Taken, and on disk."}
_ERROR = _answer({"$ref": "#/components/schemas/Error"}, text="Refused.")
_DELETED = _answer({"$ref": "#/components/schemas/Deleted"})


def _operation(
    summary: str,
    answers: dict[int, Json],
    *,
    path: tuple[str, ...] | list[str] = (),
    query: dict[str, Json] | None = None,
    required: tuple[str, ...] = (),
    header: dict[str, Json] | None = None,
    body: tuple[Json, bool] | None = None,
) -> Json:
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": _of_path(name)} for name in path),
        *(
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            | ({"explode": False} if schema.get("type") == "array" else {})
            for name, schema in (query or {}).items()
        ),
        *({"name": name, "in": "header", "schema": schema} for name, schema in (header or {}).items()),
    ]
    responses = {str(code): answer for code, answer in sorted({400: _ERROR, **answers}.items())}
    found: Json = {"summary": summary, "parameters": parameters, "responses": responses | {"default": _ERROR}}
    if body is not None:
        schema, needed = body
        found["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return found


def _of_path(name: str) -> Json:
    return _ID if name == "instanceId" else _NAME


# ── schemas ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _object(properties: dict[str, Json], optional: dict[str, Json] | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _schemas() -> dict[str, Json]:
    maybe_text: Json = {"type": ["string", "null"]}
    status = {
        "name": _TEXT,
        "instanceId": _TEXT,
        "runtimeStatus": _STATUS,
        "input": {},
        "customStatus": {},
        "output": {},
        "createdTime": _MAYBE_TIME,
        "lastUpdatedTime": _MAYBE_TIME,
    }
    row = {"type": "object", "properties": {"EventType": _TEXT, "Timestamp": _TEXT}, "required": ["EventType"]}
    arrays = {name: {"type": "array"} for name in ("waitingFor", "holds", "unreadEvents")}
    ours = {**arrays, "blocked": {}, "daemon": {}, "setAside": {}}
    entity = _object({"name": _TEXT, "key": _TEXT})
    return {
        "CheckStatus": _object({"id": _TEXT, **dict.fromkeys(_LINKS, _TEXT)}),
        "Status": _object(status, {"historyEvents": {"type": "array", "items": row}, **ours}),
        "Entity": _object({"entityId": entity, "lastOperationTime": _MAYBE_TIME}, {"state": {}}),
        "Deleted": _object({"instancesDeleted": {"type": "integer", "minimum": 1}}),
        "Error": _object(
            {"Message": _TEXT, "ExceptionMessage": maybe_text, "ExceptionType": _TEXT, "StackTrace": {"type": "null"}}
        ),
    }
