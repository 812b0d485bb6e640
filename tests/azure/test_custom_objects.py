"""Classes with `to_json` and `from_json` in an Azure app: their objects are decoded, and no other class is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Raw

from durablecli.apps.load import load_targets, unload
from durablecli.client import DurableOrchestrationStatus
from durablecli.errors import Mismatch
from durablecli.model.payloads import decode, encode
from durablecli.testing import TestEnvironment, hub

APP = """
import azure.durable_functions as df
from datetime import datetime
from fractions import Fraction
from shapes import Circle

app = df.DFApp()

class Parcel:
    def __init__(self, item, weight):
        self.item, self.weight = item, weight

    @staticmethod
    def to_json(parcel):
        return {"item": parcel.item, "weight": parcel.weight}

    @staticmethod
    def from_json(found):
        return Parcel(found["item"], found["weight"])

class Heavy(Parcel):
    @staticmethod
    def from_json(found):
        return Heavy(found["item"], found["weight"])

class Crate:
    def __init__(self, parcels):
        self.parcels = parcels

    def to_json(self):
        return self.parcels

    @classmethod
    def from_json(cls, found):
        return cls(found)

class OneWay:
    def to_json(self):
        return {"one": "way"}

def kinds(value):
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value).__name__

@app.orchestration_trigger(context_name="context")
def through(context):
    given = context.get_input()
    made = yield context.call_activity("make", given)
    seen = yield context.call_activity("see", made)
    event = yield context.wait_for_external_event("Go")
    entity = df.EntityId("shelf", "a")
    yield context.call_entity(entity, "put", event)
    found = yield context.call_entity(entity, "get")
    child = yield context.call_sub_orchestrator("echo", found)
    return [kinds(given), kinds(made), seen, kinds(event), kinds(found), kinds(child), child]

@app.orchestration_trigger(context_name="context")
def echo(context):
    return context.get_input()

@app.activity_trigger(input_name="given")
def make(given):
    return {"crate": Crate([Parcel("tea", 1), Heavy("gold", 9)]), "plain": [1]}

@app.activity_trigger(input_name="given")
def see(given: dict):
    return kinds(given)

@app.entity_trigger(context_name="context")
def shelf(context):
    if context.operation_name == "put":
        context.set_state({"on it": context.get_input()})
    else:
        context.set_result(context.get_state(lambda: None)["on it"])

@app.activity_trigger(input_name="when")
def annotated(when: datetime) -> datetime:
    return type(when).__name__

@app.activity_trigger(input_name="parcels")
def listed(parcels: list[Parcel]) -> str:
    return kinds(parcels)

@app.activity_trigger(input_name="pair")
def paired(pair: tuple[Parcel, datetime]) -> str:
    return kinds(list(pair))
"""
SHAPES = """
class Circle:
    def __init__(self, radius):
        self.radius = radius

    def to_json(self):
        return str(self.radius)

    @classmethod
    def from_json(cls, text):
        return cls(int(text))
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestEnvironment]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "shapes.py").write_text(SHAPES)
    (tmp_path / "late.py").write_text(SHAPES.replace("Circle", "Late"))
    loaded = load_targets(["."])
    assert [module.error for module in loaded.modules] == [None]
    with hub(loaded.registry) as made:
        yield made
    unload()


def get_module(name: str) -> Any:
    return cast("Any", sys.modules[name])


def completed_output(status: DurableOrchestrationStatus) -> Any:
    assert status.runtime_status is not None
    assert status.runtime_status.value == "Completed", status.output
    return status.output


def test_an_object_is_encoded_as_in_azure(app: TestEnvironment) -> None:
    found = get_module("function_app")
    assert decode(encode({"a": found.Parcel("tea", 1)}), Raw) == encode(
        {"a": {"__class__": "Parcel", "__module__": "function_app", "__data__": {"item": "tea", "weight": 1}}}
    )
    assert bytes(encode(found.Circle(5))) == b'{"__class__":"Circle","__module__":"shapes","__data__":"5"}'


def test_objects_are_decoded_wherever_they_are_passed(app: TestEnvironment) -> None:
    found = get_module("function_app")
    instance = app.client.start_new("through", client_input=[found.Parcel("ink", 2)])
    app.run()
    app.client.raise_event(instance, "Go", {"c": found.Circle(3)})
    assert completed_output(app.finish(instance)) == [
        ["Parcel"],
        {"crate": "Crate", "plain": ["int"]},
        {"crate": "Crate", "plain": ["int"]},
        {"c": "Circle"},
        {"c": "Circle"},
        {"c": "Circle"},
        {"c": {"__class__": "Circle", "__module__": "shapes", "__data__": "3"}},
    ]


def test_nested_objects_are_decoded(app: TestEnvironment) -> None:
    found = get_module("function_app")
    crate = decode(encode(found.Crate([found.Parcel("tea", 1), found.Heavy("gold", 9)])))
    assert [type(parcel) for parcel in crate.parcels] == [found.Parcel, found.Heavy]


def test_objects_of_a_module_that_is_imported_late_are_decoded(app: TestEnvironment) -> None:
    import importlib

    late = importlib.import_module("late")
    assert type(decode(encode(late.Late(1)))) is late.Late


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("subprocess", "Popen"),
        ("antigravity", "Popen"),
        ("fractions", "Fraction"),
        ("late", "Late"),
        (5, "Parcel"),
        ("function_app", ["Parcel"]),
    ],
)
def test_classes_outside_of_the_app_are_not_used(app: TestEnvironment, module: object, name: object) -> None:
    envelope = {"__class__": name, "__module__": module, "__data__": ["true"]}
    assert decode(encode([envelope])) == [envelope]
    assert "antigravity" not in sys.modules
    assert "late" not in sys.modules


@pytest.mark.parametrize("name", ["Missing", "OneWay", "Fraction", "datetime", "Circle", "app", "kinds"])
def test_a_name_that_is_no_class_with_from_json_is_an_error(app: TestEnvironment, name: str) -> None:
    with pytest.raises(
        Mismatch, match=rf"\$\[0\]: the app has no class function_app.{name} with to_json and from_json"
    ):
        decode(encode([{"__class__": name, "__module__": "function_app", "__data__": 1}]))


def test_a_class_without_from_json_is_encoded_without_an_envelope(app: TestEnvironment) -> None:
    assert decode(encode(get_module("function_app").OneWay())) == {"one": "way"}


def test_annotations_of_activities_convert_only_to_classes_with_from_json(app: TestEnvironment) -> None:
    def call(name: str, given: object) -> Any:
        function = app.registry.find_activity(name)
        assert function is not None
        return function.call(encode(given), cast("Any", None))

    assert call("annotated", "2026-11-22T00:00:00") == "str"
    assert call("listed", [{"item": "tea", "weight": 1}]) == ["Parcel"]
    assert call("listed", [get_module("function_app").Heavy("gold", 1)]) == ["Heavy"]
    assert call("listed", "no list") == "str"
    assert call("paired", [{"item": "tea", "weight": 1}, "2026-11-22T00:00:00"]) == ["Parcel", "str"]


def test_nothing_is_encoded_in_an_envelope_once_the_app_is_unloaded(app: TestEnvironment) -> None:
    found = get_module("function_app")
    unload()
    assert decode(encode(found.Parcel("tea", 1))) == {"item": "tea", "weight": 1}
    envelope = {"__class__": "Parcel", "__module__": "function_app", "__data__": {}}
    assert decode(encode(envelope)) == envelope
