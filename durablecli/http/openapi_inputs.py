"""The operations of the OpenAPI document that start one orchestrator each, with the schema of its input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from durablecli.inputs.input_schema import LENIENT, UNCHECKED, Schema, resolve

Json = dict[str, Any]
_PARAMETERS = ("functionName", "name")


def add_inputs(document: Json, schemas: Mapping[str, Schema]) -> Json:
    """Return the document with the paths of the orchestrators that declare their input."""
    if not schemas:
        return document
    paths: Json = {}
    components = dict(document["components"]["schemas"])
    for name, schema in schemas.items():
        prefix = f"Input.{re.sub(r'[^A-Za-z0-9._-]', '_', name)}"
        components |= {f"{prefix}.{each}": _rewrite(inner, prefix) for each, inner in schema.get("$defs", {}).items()}
        components[prefix] = _rewrite({key: value for key, value in schema.items() if key != "$defs"}, prefix)
        required = bool(resolve(schema, schema).get("required"))
        for path, operation in _list_starts(document):
            own_path = re.sub(r"\{(?:functionName|name)\}", quote(name, safe=""), path)
            paths[own_path] = {"post": _make_start(operation, name, prefix, required=required)}
    return {
        **document,
        "paths": {**paths, **document["paths"]},
        "components": {**document["components"], "schemas": components},
    }


def _list_starts(document: Json) -> Iterator[tuple[str, Json]]:
    for path, operations in document["paths"].items():
        if re.search(r"orchestrators/\{(?:functionName|name)\}", path):
            yield path, operations["post"]


def _make_start(operation: Json, name: str, component: str, *, required: bool) -> Json:
    body = {
        "required": required,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}},
    }
    parameters = [each for each in operation["parameters"] if each["name"] not in _PARAMETERS]
    summary = f"Start {name}. With timeout and pollingInterval the response waits for it to end."
    return {**operation, "summary": summary, "parameters": parameters, "requestBody": body}


def _rewrite(schema: Any, prefix: str) -> Any:
    """Return a schema whose references are to the components of the document."""
    if isinstance(schema, list):
        return [_rewrite(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _rewrite(value, prefix) for key, value in schema.items() if key not in (LENIENT, UNCHECKED)}
    if isinstance(reference := found.get("$ref"), str):
        found["$ref"] = reference.replace("#/$defs/", f"#/components/schemas/{prefix}.")
    return found
