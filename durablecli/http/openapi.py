"""The OpenAPI document of the management API: every operation, with all its responses."""

from __future__ import annotations

from functools import cache
from typing import Any

from durablecli.http.requests import CONTINUATION_HEADER, DEFAULT_PAGE_SIZE, MAX_RECORD_NUMBER, MAX_WAIT_SECONDS
from durablecli.limits import MAX_ID_LENGTH, MAX_PAGE_SIZE, MAX_TAGS
from durablecli.management_links import BASE_PATH, REWIND_LINK, ManagementEndpoint
from durablecli.model.status import OrchestrationRuntimeStatus

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_BOOLEAN: Json = {"type": "boolean"}
_TIME: Json = {"type": "string", "format": "date-time"}
_NULLABLE_TIME: Json = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_SECONDS: Json = {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS}
_RECORD_NUMBER: Json = {"type": "integer", "minimum": 2, "maximum": MAX_RECORD_NUMBER}
_ID: Json = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": r"^[^@/\\#?\x00-\x1f\x7f-\x9f]"}
_NAME: Json = {"type": "string", "minLength": 1}
_STATUS: Json = {"type": "string", "enum": [status.value for status in OrchestrationRuntimeStatus]}
_TAGS: Json = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[^=]+="},
    "maxItems": MAX_TAGS,
    "description": "Tags, each as KEY=VALUE.",
}
_PAGE_SIZE: Json = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}

_LINK_NAMES = [name for name in ManagementEndpoint().make_payload("").urls if name != REWIND_LINK]


@cache
def build_document() -> Json:
    """Build the document, which is the same for every hub."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "durablecli",
            "version": "1",
            "description": "The management API of Durable Functions: the orchestrations and entities of one hub.",
        },
        "paths": {**{f"{BASE_PATH}/{path}": each for path, each in _paths().items()}, **_short_start_paths()},
        "components": {
            "schemas": _component_schemas(),
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "query": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
        "security": [{}, {"header": []}, {"query": []}],
    }


# ── paths ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _paths() -> dict[str, Json]:
    event = {"post": _raise_event_operation()}
    return {
        "orchestrators/{functionName}": {"post": _start_operation("functionName")},
        "orchestrators/{functionName}/{instanceId}": {"post": _start_operation("functionName", "instanceId")},
        "instances/{instanceId}": {"get": _status_operation(), "delete": _purge_operation()},
        "instances": {"get": _list_operation(), "delete": _purge_many_operation()},
        "instances/{instanceId}/raiseEvent/{eventName}": event,
        **{
            f"instances/{{instanceId}}/{verb}": {"post": _lifecycle_operation(verb)}
            for verb in ("terminate", "suspend", "resume")
        },
        "instances/{instanceId}/rewind": {"post": _rewind_operation()},
        "instances/{instanceId}/restart": {"post": _restart_operation()},
        "instances/{instanceId}/fork": {"post": _fork_operation()},
        "instances/{instanceId}/logs": {"get": _logs_operation("an instance", "instanceId")},
        "entities": {"get": _list_entities_operation()},
        "entities/{entityName}": {"get": _list_entities_operation("entityName")},
        "entities/{entityName}/{entityKey}": {
            "get": _entity_operation(),
            "post": _signal_operation(),
            "delete": _delete_entity_operation(),
        },
        "entities/{entityName}/{entityKey}/logs": {"get": _logs_operation("an entity", "entityName", "entityKey")},
        **_schedule_paths(),
        "openapi.json": {"get": _operation("Get this document.", {200: _response({"type": "object"})})},
    }


def _schedule_paths() -> dict[str, Json]:
    schedule: Json = {"type": "object", "properties": {"name": _TEXT, "status": _TEXT}, "required": ["name", "status"]}
    one: dict[str, Any] = {"path": ["scheduleName"]}
    changed: dict[int, Json] = {202: _ACCEPTED, 404: _ERROR_RESPONSE, 410: _ERROR_RESPONSE}
    started = {202: _response(_object_schema({"id": _TEXT})), 404: _ERROR_RESPONSE}
    base = "schedules/{scheduleName}"
    return {
        "schedules": {"get": _operation("List the schedules.", {200: _response({"type": "array", "items": schedule})})},
        base: {"get": _operation("Get a schedule.", {200: _response(schedule), 404: _ERROR_RESPONSE}, **one)},
        f"{base}/pause": {"post": _operation("Start no more runs.", changed, **one)},
        f"{base}/resume": {"post": _operation("Start runs again.", changed, **one)},
        f"{base}/trigger": {"post": _operation("Start a run now.", started, **one)},
    }


def _short_start_paths() -> dict[str, Json]:
    return {"/api/orchestrators/{name}": {"post": _start_operation("name")}}


def _start_operation(*path_names: str) -> Json:
    return _operation(
        "Start an orchestration. With timeout and pollingInterval the response waits for it to end.",
        _start_responses() | ({409: _ERROR_RESPONSE} if "instanceId" in path_names else {}),
        path=path_names,
        query={"timeout": _SECONDS, "pollingInterval": _SECONDS, "version": _NAME, "tag": _TAGS},
        body=({}, False),
    )


def _start_responses() -> dict[int, Json]:
    links = _response({"$ref": "#/components/schemas/CheckStatus"}, {"Location": _TEXT, "Retry-After": _TEXT})
    return {
        202: links,
        200: _response({}, text="It has ended: its output if Completed, else its status."),
    }


def _status_operation() -> Json:
    status = {"$ref": "#/components/schemas/Status"}
    failed = {"anyOf": [status, {"$ref": "#/components/schemas/Error"}]}
    return _operation(
        "Get the status of an instance: 202 while it runs, 200 once it has ended.",
        {
            200: _response(status),
            202: _response(status, {"Location": _TEXT, "Retry-After": _TEXT}),
            409: _ERROR_RESPONSE,
            500: _response(failed, text="The instance has failed, and the query asks for an error then."),
        },
        path=["instanceId"],
        query=dict.fromkeys(
            ("showHistory", "showHistoryOutput", "showInput", "showWaiting", "returnInternalServerErrorOnFailure"),
            _BOOLEAN,
        ),
    )


def _list_operation() -> Json:
    return _operation(
        "List instances, oldest first, in pages.",
        {
            200: _response(
                {"type": "array", "items": {"$ref": "#/components/schemas/Status"}}, {CONTINUATION_HEADER: _TEXT}
            )
        },
        query={
            "instanceIdPrefix": _NAME,
            "createdTimeFrom": _TIME,
            "createdTimeTo": _TIME,
            "runtimeStatus": {"type": "array", "items": _STATUS},
            "tag": _TAGS,
            "showInput": _BOOLEAN,
            "showWaiting": _BOOLEAN,
            "top": _PAGE_SIZE,
        },
        header={CONTINUATION_HEADER: _TEXT},
    )


def _purge_operation() -> Json:
    return _operation(
        "Purge an ended instance.",
        {200: _DELETED_RESPONSE, 404: _ERROR_RESPONSE, 409: _ERROR_RESPONSE},
        path=["instanceId"],
    )


def _purge_many_operation() -> Json:
    return _operation(
        "Purge the ended instances that match the filters, at least one of which is required; 404 if there are none.",
        {200: _DELETED_RESPONSE, 404: _ERROR_RESPONSE},
        query={
            "createdTimeFrom": _TIME,
            "createdTimeTo": _TIME,
            "runtimeStatus": {"type": "array", "items": _STATUS},
        },
    )


def _raise_event_operation() -> Json:
    return _operation(
        "Send an external event.",
        {202: _ACCEPTED, 404: _ERROR_RESPONSE, 410: _ERROR_RESPONSE},
        path=["instanceId", "eventName"],
        body=({}, True),
    )


def _lifecycle_operation(verb: str) -> Json:
    return _operation(
        f"{verb.capitalize()} an instance.",
        {202: _ACCEPTED, 404: _ERROR_RESPONSE, 410: _ERROR_RESPONSE},
        path=["instanceId"],
        query={"reason": _NAME},
    )


def _rewind_operation() -> Json:
    preview = _response(_object_schema({"instanceId": _TEXT, "sentAgain": _TEXTS}), text=_DRY_RUN)
    return _operation(
        "Retry the failed work of a failed instance. failedActivities also retries the calls whose failures were "
        "caught; to undoes all from that record on instead.",
        {200: preview, 202: _ACCEPTED, 404: _ERROR_RESPONSE, 409: _ERROR_RESPONSE, 410: _ERROR_RESPONSE},
        path=["instanceId"],
        query={"reason": _NAME, "failedActivities": _BOOLEAN, "to": _RECORD_NUMBER, "dryRun": _BOOLEAN},
    )


def _restart_operation() -> Json:
    return _operation(
        "Start an instance again, under a new id or its own. The body is another input; without one it is the same.",
        {**_start_responses(), 404: _ERROR_RESPONSE, 409: _ERROR_RESPONSE},
        path=["instanceId"],
        query={"restartWithNewInstanceId": _BOOLEAN, "timeout": _SECONDS, "pollingInterval": _SECONDS},
        body=({}, False),
    )


def _fork_operation() -> Json:
    wait = {"timeout": _SECONDS, "pollingInterval": _SECONDS}
    text = f"{_DRY_RUN} Or the fork has ended: its output if Completed, else its status."
    return _operation(
        "Start a new instance with the records of this one before record from; it continues from there.",
        {**_start_responses(), 200: _response({}, text=text), 404: _ERROR_RESPONSE, 409: _ERROR_RESPONSE},
        path=["instanceId"],
        query={"from": _RECORD_NUMBER, "newInstanceId": _ID, "dryRun": _BOOLEAN, **wait},
        required=("from",),
    )


def _logs_operation(owner: str, *path_names: str) -> Json:
    return _operation(
        f"Get the last entries in the log of {owner}, oldest first.",
        {200: _response({"type": "array", "items": {"$ref": "#/components/schemas/LogEntry"}}), 404: _ERROR_RESPONSE},
        path=path_names,
        query={"activity": _NAME, "tail": _PAGE_SIZE},
    )


def _list_entities_operation(*path_names: str) -> Json:
    return _operation(
        "List the entities that have a state, in pages.",
        {
            200: _response(
                {"type": "array", "items": {"$ref": "#/components/schemas/Entity"}}, {CONTINUATION_HEADER: _TEXT}
            )
        },
        path=path_names,
        query={"lastOperationTimeFrom": _TIME, "lastOperationTimeTo": _TIME, "fetchState": _BOOLEAN, "top": _PAGE_SIZE},
        header={CONTINUATION_HEADER: _TEXT},
    )


def _entity_operation() -> Json:
    return _operation(
        "Get the state of an entity.", {200: _response({}), 404: _ERROR_RESPONSE}, path=["entityName", "entityKey"]
    )


def _signal_operation() -> Json:
    return _operation(
        "Signal an entity: send a one-way operation.",
        {202: _ACCEPTED},
        path=["entityName", "entityKey"],
        query={"op": _TEXT},
        required=("op",),
        body=({}, False),
    )


def _delete_entity_operation() -> Json:
    return _operation(
        "Delete the state of an entity.", {202: _ACCEPTED, 404: _ERROR_RESPONSE}, path=["entityName", "entityKey"]
    )


# ── the parts of an operation ──────────────────────────────────────────────────────────────────────────────────────


def _response(schema: Json, headers: dict[str, Json] | None = None, text: str = "Success.") -> Json:
    response: Json = {"description": text, "content": {"application/json": {"schema": schema}}}
    if headers:
        response["headers"] = {name: {"schema": schema} for name, schema in headers.items()}
    return response


_DRY_RUN = "A dry run: the work that would run again."
_ACCEPTED: Json = {"description": "Accepted and stored on disk."}
_ERROR_RESPONSE = _response({"$ref": "#/components/schemas/Error"}, text="Error.")
_DELETED_RESPONSE = _response({"$ref": "#/components/schemas/Deleted"})


def _operation(
    summary: str,
    response_by_status: dict[int, Json],
    *,
    path: tuple[str, ...] | list[str] = (),
    query: dict[str, Json] | None = None,
    required: tuple[str, ...] = (),
    header: dict[str, Json] | None = None,
    body: tuple[Json, bool] | None = None,
) -> Json:
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": _path_parameter_schema(name)} for name in path),
        *(
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            | ({"explode": False} if schema.get("type") == "array" and schema is not _TAGS else {})
            for name, schema in (query or {}).items()
        ),
        *({"name": name, "in": "header", "schema": schema} for name, schema in (header or {}).items()),
    ]
    responses = {str(code): answer for code, answer in sorted({400: _ERROR_RESPONSE, **response_by_status}.items())}
    operation: Json = {
        "summary": summary,
        "parameters": parameters,
        "responses": responses | {"default": _ERROR_RESPONSE},
    }
    if body is not None:
        schema, needed = body
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return operation


def _path_parameter_schema(name: str) -> Json:
    return _ID if name == "instanceId" else _NAME


# ── schemas ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _object_schema(properties: dict[str, Json], optional: dict[str, Json] | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def _component_schemas() -> dict[str, Json]:
    maybe_text: Json = {"type": ["string", "null"]}
    status = {
        "name": _TEXT,
        "instanceId": _TEXT,
        "runtimeStatus": _STATUS,
        "input": {},
        "customStatus": {},
        "output": {},
        "createdTime": _NULLABLE_TIME,
        "lastUpdatedTime": _NULLABLE_TIME,
    }
    row = {"type": "object", "properties": {"EventType": _TEXT, "Timestamp": _TEXT}, "required": ["EventType"]}
    arrays = {name: {"type": "array"} for name in ("waitingFor", "holds", "unreadEvents")}
    ours: dict[str, Json] = {
        **arrays,
        "tags": {"type": "object", "additionalProperties": _TEXT},
        "progress": {"type": "object"},
        "blocked": {},
        "daemon": {},
        "setAside": {},
        "taskCounts": {},
        "remote": _BOOLEAN,
        "failure": {"$ref": "#/components/schemas/Failure"},
        "taskFailures": {"type": "array", "items": {"$ref": "#/components/schemas/TaskFailures"}},
    }
    entity = _object_schema({"name": _TEXT, "key": _TEXT})
    return {
        "CheckStatus": _object_schema({"id": _TEXT, **dict.fromkeys(_LINK_NAMES, _TEXT)}),
        "Status": _object_schema(status, {"historyEvents": {"type": "array", "items": row}, **ours}),
        **_failure_schemas(),
        "Entity": _object_schema({"entityId": entity, "lastOperationTime": _NULLABLE_TIME}, {"state": {}}),
        "LogEntry": _object_schema(
            {"at": _TIME, "level": _TEXT, "text": _TEXT, "source": _TEXT},
            {
                **dict.fromkeys(("name", "execution", "logger", "stream"), _TEXT),
                **{name: {"type": "integer"} for name in ("id", "attempt", "retry_of")},
            },
        ),
        "Deleted": _object_schema({"instancesDeleted": {"type": "integer", "minimum": 1}}),
        "Error": _object_schema(
            {"Message": _TEXT, "ExceptionMessage": maybe_text, "ExceptionType": _TEXT, "StackTrace": {"type": "null"}}
        ),
    }


def _failure_schemas() -> dict[str, Json]:
    line = _object_schema({"file": _TEXT, "line": {"type": "integer"}, "function": _TEXT})
    error: dict[str, Json] = {"type": _TEXT, "message": _TEXT}
    where: dict[str, Json] = {"at": {"$ref": "#/components/schemas/SourceLine"}, "task": _TEXT}
    lists: dict[str, Json] = {
        "causes": {"type": "array", "items": _object_schema(error, where)},
        "parts": {"type": "array", "items": _object_schema(error, where)},
        "awaitedAt": {"type": "array", "items": {"$ref": "#/components/schemas/SourceLine"}},
    }
    count: Json = {"type": "integer", "minimum": 1}
    kind: Json = {"enum": ["activity", "child", "entity"]}
    of_tasks: dict[str, Json] = {"count": count, "kind": kind, "name": _TEXT, **error, "at": {}, "id": count}
    return {
        "SourceLine": line,
        "Failure": _object_schema(error, {**where, **lists, "traceback": _TEXT}),
        "TaskFailures": _object_schema(
            of_tasks, {"target": _TEXT, "differ": _BOOLEAN, "traceback": _TEXT, "label": _TEXT}
        ),
    }
