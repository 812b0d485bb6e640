"""Functions that a setting of the app disables: they are left out, and a warning names the setting."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from durablecli.apps.load import load_targets, unload
from durablecli.apps.modules import LoadedApp

CODE = """
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()

@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def my_tick(timer: func.TimerRequest) -> None: ...

@app.function_name("Page")
@app.route()
def page(req: func.HttpRequest) -> str: return ""

@app.activity_trigger(input_name="name", activity="Hello")
def say_hello(name: str) -> str: return name
"""


@pytest.fixture(autouse=True)
def loads_nothing_else() -> Iterator[None]:
    unload()
    yield
    unload()


def load_v2_app(values: dict[str, object]) -> LoadedApp:
    Path("function_app.py").write_text(CODE)
    Path("local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    return load_targets(["."])


def load_v1_app(disabled: object, values: dict[str, object]) -> LoadedApp:
    Path("host.json").write_text("{}")
    Path("local.settings.json").write_text(json.dumps({"Values": values}))
    for name in ("Off", "On"):
        Path(name).mkdir()
        definition = {"bindings": [{"type": "activityTrigger", "name": "x", "direction": "in"}]}
        if name == "Off" and disabled is not None:
            definition["disabled"] = disabled  # type: ignore[assignment]
        Path(name, "function.json").write_text(json.dumps(definition))
        Path(name, "__init__.py").write_text("def main(x): return x\n")
    return load_targets(["."])


def function_names(loaded: LoadedApp) -> list[str]:
    assert [module.error for module in loaded.modules if module.error] == []
    return [one.name for one in loaded.registry]


@pytest.mark.parametrize("value", [True, "true", "True", " TRUE ", "1", 1])
@pytest.mark.parametrize(
    ("setting", "left"),
    [
        ("AzureWebJobs.my_tick.Disabled", ["Hello", "Page"]),
        ("azurewebjobs.MY_TICK.disabled", ["Hello", "Page"]),
        ("AzureWebJobs_my_tick_Disabled", ["Hello", "Page"]),
        ("AzureWebJobs__my_tick__Disabled", ["Hello", "Page"]),
        ("AzureWebJobs.Page.Disabled", ["Hello", "my_tick"]),
        ("AzureWebJobs.say_hello.Disabled", ["my_tick", "Page"]),
        ("AzureWebJobs.Hello.Disabled", ["my_tick", "Page"]),
    ],
)
def test_a_setting_disables_a_function(setting: str, value: object, left: list[str]) -> None:
    loaded = load_v2_app({setting: value})
    assert sorted(function_names(loaded), key=str.casefold) == sorted(left, key=str.casefold)
    (remark,) = [remark for remark in loaded.warnings if remark.startswith("disabled: ")]
    assert f"by {setting}".casefold() in remark.casefold()


@pytest.mark.parametrize("value", [False, "false", "0", "", "no", None])
def test_any_other_value_disables_nothing(value: object) -> None:
    loaded = load_v2_app({"AzureWebJobs.my_tick.Disabled": value, "AzureWebJobs.other.Disabled": "true"})
    assert len(function_names(loaded)) == 3
    assert loaded.warnings == ()


def test_a_variable_disables_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AzureWebJobs.my_tick.Disabled", "true")
    assert "my_tick" not in function_names(load_v2_app({}))
    monkeypatch.setitem(os.environ, "AzureWebJobs.my_tick.Disabled", "false")
    assert "my_tick" in function_names(load_v2_app({"AzureWebJobs.my_tick.Disabled": "true"}))


@pytest.mark.parametrize(
    ("disabled", "values"),
    [
        (True, {}),
        ("true", {}),
        ("IS_OFF", {"IS_OFF": "true"}),
        ("%IS_OFF%", {"IS_OFF": "1"}),
        (None, {"AzureWebJobs.Off.Disabled": "true"}),
        (False, {"AzureWebJobs.off.Disabled": "1"}),
    ],
)
def test_a_function_of_the_older_layout_is_disabled_and_not_imported(
    disabled: object, values: dict[str, object]
) -> None:
    loaded = load_v1_app(disabled, values)
    assert function_names(loaded) == ["On"]
    assert [module.name for module in loaded.modules] == ["On"]
    assert any(remark.startswith("disabled: Off, by ") for remark in loaded.warnings)


@pytest.mark.parametrize("disabled", [None, False, "IS_OFF", "%IS_OFF%", "false"])
def test_a_function_of_the_older_layout_is_not_disabled(disabled: object) -> None:
    assert function_names(load_v1_app(disabled, {"IS_OFF": "false"})) == ["Off", "On"]
