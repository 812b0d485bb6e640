"""Requests for repairs of instances that exist, valid by the OpenAPI document: each gets a documented response."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode

from tests.http.conftest import RunningServer
from tests.http.test_fuzz import CHECKS, OPERATIONS

REPAIRS = [each for each in OPERATIONS if each.path.rpartition("/")[2] in ("rewind", "restart", "fork")]
RECORD_NUMBERS = {"from", "to"}


@pytest.fixture(scope="module")
def repairable(served: RunningServer) -> list[str]:
    """Instances that are running, completed, and failed with a caught failure."""
    names = {"waiter": "Running", "echo": "Completed", "collecting": "Failed"}
    ids = {name: served.start_instance(name) for name in names}
    for name, status in names.items():
        served.wait_for_status(ids[name], status)
    return [*ids.values()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", REPAIRS, ids=lambda operation: operation.label)
def test_every_repair_of_an_instance_gets_a_documented_response(
    served: RunningServer, repairable: list[str], operation: Any
) -> None:
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), data=strategies.data())
    @settings(
        max_examples=20, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    def ask(case: Any, data: strategies.DataObject) -> None:
        case.path_parameters["instanceId"] = data.draw(strategies.sampled_from(repairable))
        for name in RECORD_NUMBERS & {*case.query}:
            case.query[name] = data.draw(strategies.integers(2, 8))
        case.query.pop("timeout", None)  # the instance that is running doesn't end
        answer = case.call(base_url=served.url, timeout=10)
        case.validate_response(answer, checks=CHECKS)

    ask()
