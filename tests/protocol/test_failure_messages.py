"""Failures as messages: what an exception was keeps its classes and its attributes."""

from __future__ import annotations

import msgspec
import pytest

from durablecli.model.failures import Failure, from_exception
from durablecli.protocol.generated import pb
from durablecli.protocol.values import make_failure, to_failure


class OutOfStock(LookupError):
    def __init__(self, item: str, left: int) -> None:
        super().__init__(f"{item}: {left} left")
        self.item = item
        self.left = left


def raised(error: BaseException, cause: BaseException | None = None) -> Failure:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - the tests record any exception
        return from_exception(caught)


@pytest.mark.parametrize(
    "failure",
    [
        raised(ValueError("no")),
        raised(OutOfStock("bolt", 3), KeyError("row")),
        raised(ValueError()),
        Failure("java.lang.Error", "boom", retryable=False),
        Failure("Error", "boom", attributes=msgspec.Raw(b'{"code":"E1","retry":true}')),
        Failure("Error", "boom", omitted=4, cause=Failure("Error", "root")),
    ],
    ids=["plain", "with attributes and a cause", "without a text", "foreign", "with properties", "shortened"],
)
def test_a_failure_survives_the_protocol(failure: Failure) -> None:
    message = make_failure(failure)
    assert message is not None
    assert to_failure(pb.TaskFailureDetails.FromString(message.SerializeToString())) == failure


def test_whole_numbers_stay_whole() -> None:
    message = make_failure(raised(OutOfStock("bolt", 3)))
    assert message is not None
    assert msgspec.json.decode(to_failure(message).attributes) == {"item": "bolt", "left": 3}
    assert message.properties["left"].number_value == 3


def test_an_exception_without_a_text_has_one_in_the_message() -> None:
    """Some engines take a failure without a text for a success."""
    message = make_failure(raised(ValueError()))
    assert message is not None
    assert message.errorMessage == "ValueError"


def test_a_failure_of_another_sdk_gets_no_property_of_ours() -> None:
    details = pb.TaskFailureDetails(errorType="Error", errorMessage="boom")
    details.properties["code"].string_value = "E1"
    message = make_failure(to_failure(details))
    assert message is not None
    assert {name: value.string_value for name, value in message.properties.items()} == {"code": "E1"}


def test_a_damaged_property_is_ignored() -> None:
    details = pb.TaskFailureDetails(errorType="Error", errorMessage="boom")
    details.properties["durablecli"].string_value = "{"
    assert to_failure(details) == Failure("Error", "boom")


def test_a_property_that_json_cant_hold_is_left_out() -> None:
    details = pb.TaskFailureDetails(errorType="Error", errorMessage="boom")
    details.properties["x"].number_value = float("nan")
    details.properties["y"].list_value.values.add().number_value = float("inf")
    assert to_failure(details) == Failure("Error", "boom")
