"""A thousand requests, valid or not by the OpenAPI document: no 500, no hang, no undocumented response."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from durablecli.http.openapi import build_document
from tests.http.conftest import RunningServer

REQUESTS = 1_000
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
OPERATIONS: list[Any] = [
    found.ok()  # type: ignore[union-attr]  # a document that can't be read fails here
    for found in schemathesis.openapi.from_dict(build_document()).get_all_operations()
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_request_gets_a_documented_response(served: RunningServer, operation: Any, mode: GenerationMode) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body or "{instanceId}" in operation.path):
        pytest.skip("nothing about it can be wrong")

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=REQUESTS // (2 * len(OPERATIONS)) + 3,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    def ask(case: Any) -> None:
        answer = case.call(base_url=served.url, timeout=10)
        assert "Traceback" not in answer.text
        case.validate_response(answer, checks=CHECKS)

    ask()
