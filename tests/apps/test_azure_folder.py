"""Loading an Azure function app from its folder, in both layouts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from durablecli.apps.host_json import read_host_settings
from durablecli.apps.load import load_targets, unload
from durablecli.apps.modules import LoadedApp
from durablecli.azure import import_hook
from durablecli.azure.activities import inject_clients
from durablecli.azure.invocation import ClientProvider
from durablecli.client import Client
from durablecli.engine.workers.activity_arguments import bind_arguments
from durablecli.engine.workers.activity_context import ActivityContext, Cancellation
from durablecli.errors import ConfigError
from durablecli.registry import Function
from durablecli.testing import hub

APPS = Path(__file__).parents[1] / "azure" / "apps"


@pytest.fixture(autouse=True)
def loads_nothing_else() -> Iterator[None]:
    unload()  # whatever another test has loaded goes first
    before, path = dict(os.environ), list(sys.path)
    yield
    unload()
    assert sys.path == path
    for name in set(os.environ) - set(before):
        del os.environ[name]


def write(name: str, text: str = "") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def function(folder: str, code: str, *bindings: Mapping[str, Any], file: str = "__init__.py", **more: Any) -> None:
    write(f"{folder}/function.json", json.dumps({"bindings": bindings, **more}))
    write(f"{folder}/{file}", code)


def activity(folder: str, code: str, **more: Any) -> None:
    function(folder, code, {"type": "activityTrigger", "name": "given", "direction": "in"}, **more)


def module_errors(loaded: LoadedApp) -> dict[str, str | None]:
    return {module.name: module.error for module in loaded.modules}


def call_activity(loaded: LoadedApp, name: str, given: object = 0) -> Any:
    found = loaded.registry.find_activity(name)
    assert found is not None
    places, names = _arguments(found, given)
    return found.call(*places, **names)


def _arguments(found: Function, given: object) -> tuple[list[Any], Mapping[str, Any]]:
    context = ActivityContext("i", 1, found.name, 1, False, "key", Cancellation())
    return bind_arguments(found, Raw(json.dumps(given).encode()), lambda: context)


def test_the_sample_apps_load_completely() -> None:
    for name, count in (("v2_model", 20), ("function_json", 7)):
        loaded = load_targets([name], APPS)
        assert [module for module in loaded.modules if module.error] == []
        assert (len(loaded.registry), loaded.registry.clashes) == (count, {})


def test_modules_beside_function_app_can_be_imported_also_late() -> None:
    write("shop/host.json", "{}")
    write("shop/shared/deep/rates.py", "VALUE = 40\n")
    write("shop/part.py", "import azure.durable_functions as df\nbp = df.Blueprint()\n")
    write(
        "shop/function_app.py",
        "import azure.durable_functions as df\nfrom part import bp\napp = df.DFApp()\n"
        "@bp.activity_trigger(input_name='given')\ndef late(given: int) -> int:\n"
        "    from shared.deep import rates\n    import azure.functions\n    return rates.VALUE + given\n"
        "app.register_functions(bp)\n",
    )
    assert call_activity(load_targets(["shop"]), "late", 2) == 42


def test_a_later_load_sees_changed_code_also_in_plain_folders() -> None:
    write("shop/function_app.py", "from shared.rates import VALUE\nimport azure.durable_functions as df\n")
    for value in (1, 2):
        write("shop/shared/rates.py", f"VALUE = {value}\n")
        load_targets(["shop"])
        found = sys.modules["function_app"]
        assert value == found.VALUE


def test_a_plain_folder_does_not_shadow_an_installed_package() -> None:
    write("shop/function_app.py", "import iniconfig\nNAME = iniconfig.__name__, iniconfig.IniConfig\n")
    write("shop/iniconfig/notes.txt")
    assert module_errors(load_targets(["shop"])) == {"function_app": None}


def test_the_azure_packages_are_restored_when_something_else_is_loaded() -> None:
    write("shop/function_app.py", "import azure.functions\n")
    write("flows/one.py")
    load_targets(["shop"])
    assert import_hook.is_installed()
    load_targets(["flows"])
    assert not import_hook.is_installed()
    assert "function_app" not in sys.modules


def test_an_app_that_cant_be_imported_is_reported_with_its_location() -> None:
    write("shop/function_app.py", "import azure.functions\n\nimport no_such_thing\n")
    assert module_errors(load_targets(["shop"])) == {
        "function_app": "shop/function_app.py:3: ModuleNotFoundError: No module named 'no_such_thing'"
    }


def test_values_of_local_settings_are_in_the_environment_unless_it_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_A", "mine")
    write("shop/local.settings.json", '{"Values": {"SHOP_A": "theirs", "SHOP_B": "theirs"}}')
    write("shop/function_app.py", "import os\nFOUND = os.environ['SHOP_A'], os.environ['SHOP_B']\n")
    load_targets(["shop"])
    assert sys.modules["function_app"].FOUND == ("mine", "theirs")


def test_values_of_local_settings_leave_the_environment_with_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_A", "mine")
    for shop in "one", "two":
        values = {"SHOP_A": shop, "SHOP_B": shop, f"SHOP_{shop}": shop, "SHOP_OWN": shop}
        write(f"{shop}/local.settings.json", json.dumps({"Values": values}))
        write(f"{shop}/function_app.py", "import os\nos.environ['SHOP_OWN'] = 'changed'\n")
    before = {**os.environ, "SHOP_OWN": "changed"}
    for shop in "one", "two":
        load_targets([shop])
        assert dict(os.environ) == before | {"SHOP_B": shop, f"SHOP_{shop}": shop}
    write("flows/three.py")
    load_targets(["flows"])
    assert dict(os.environ) == before
    load_targets(["one"])
    unload()
    assert dict(os.environ) == before


@pytest.mark.parametrize(("text", "code"), [('{"bindings": 1}', ""), ('{"bindings": []}', "raise KeyboardInterrupt")])
def test_an_app_with_errors_leaves_nothing_loaded(text: str, code: str) -> None:
    write("shop/host.json", "{}")
    write("shop/local.settings.json", '{"Values": {"SHOP_B": "theirs"}}')
    activity("shop/Alright", "def main(given): return 1\n")
    write("shop/Bad/function.json", text)
    write("shop/Bad/main.py", code)
    before, modules, path = dict(os.environ), list(sys.meta_path), list(sys.path)
    with pytest.raises((ConfigError, KeyboardInterrupt)):
        load_targets(["shop"])
    assert (dict(os.environ), sys.meta_path, sys.path) == (before, modules, path)
    assert not import_hook.is_installed()


def test_function_folders_can_import_each_other() -> None:
    write("shop/host.json", "{}")
    write("shop/shared/__init__.py")
    write("shop/shared/rates.py", "VALUE = 1\n")
    code = "{}\ndef main(given):\n    return rates.VALUE\n"
    activity("shop/Absolute", code.format("from shared import rates"))
    activity("shop/Relative", code.format("from ..shared import rates"))
    activity("shop/ByRoot", code.format("from __app__.shared import rates"))
    activity("shop/Own", code.format("from . import rates"))
    write("shop/Own/rates.py", "VALUE = 2\n")
    loaded = load_targets(["shop"])
    assert set(module_errors(loaded).values()) == {None}
    assert [call_activity(loaded, name) for name in ("Absolute", "Relative", "ByRoot", "Own")] == [1, 1, 1, 2]


def test_functions_can_name_and_share_a_script_and_an_entry_point() -> None:
    write("shop/host.json", "{}")
    write("shop/code/work.py", "def one(given): return 1\ndef two(given): return 2\n")
    for name, entry in (("One", "one"), ("Two", "two")):
        activity(f"shop/{name}", "", scriptFile="../code/work.py", entryPoint=entry, file="unused.txt")
    activity("shop/Three", "def main(given): return 3\n", file="main.py")
    activity("shop/Off", "raise AssertionError\n", disabled=True)
    loaded = load_targets(["shop"])
    assert [call_activity(loaded, name) for name in ("One", "Two", "Three")] == [1, 2, 3]
    assert loaded.registry.find_activity("Off") is None


def test_function_json_ignores_case() -> None:
    write("shop/host.json", "{}")
    write("shop/Work/code.py", "def work(given, msg): msg.set(given)\n")
    bindings = [
        {"Type": "ActivityTrigger", "Name": "given", "Direction": "In"},
        {"Type": "Queue", "Name": "msg", "Direction": "Out"},
    ]
    write("shop/Work/function.json", json.dumps({"ScriptFile": "code.py", "EntryPoint": "work", "Bindings": bindings}))
    loaded = load_targets(["shop"])
    (function,) = loaded.registry
    assert (function.kind, dict(function.outputs)) == ("activity", {"msg": "Queue"})
    assert bytes(call_activity(loaded, "Work", 5).outputs[0].value) == b"5"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"scriptFile": "../../outside.py"}, "no such file in the app"),
        ({"scriptFile": "none.py"}, "scriptFile: none.py: no such file in the app"),
    ],
)
def test_a_script_outside_of_the_app_is_an_error(more: dict[str, str], said: str) -> None:
    write("outside.py")
    write("shop/host.json", "{}")
    activity("shop/One", "", **more)
    with pytest.raises(ConfigError, match=said):
        load_targets(["shop"])


def test_a_function_without_its_entry_point_is_reported_and_the_others_load() -> None:
    write("shop/host.json", "{}")
    activity("shop/Bad", "x = 1\n")
    activity("shop/Good", "def main(given): return 1\n")
    found = module_errors(load_targets(["shop"]))
    assert found["Good"] is None
    assert found["Bad"] is not None
    assert "the module has no function 'main'" in found["Bad"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"bindings": [1]}', '{"bindings": [{"name": "x"}]}'])
def test_a_function_json_without_bindings_is_an_error(text: str) -> None:
    write("shop/host.json", "{}")
    write("shop/One/function.json", text)
    with pytest.raises(ConfigError, match=r"function\.json: expected an object with a list of bindings"):
        load_targets(["shop"])


def test_unsupported_triggers_are_reported() -> None:
    assert read_host_settings(str(APPS / "v2_model")).hub_name == "ShopHub"
    assert load_targets(["v2_model"], APPS).warnings[1:] == (
        "not run here: from_queue (queueTrigger)",
        "export runs, but nothing is sent by its blob (blob)",
    )


def test_an_activity_receives_its_input_unchanged_and_a_context() -> None:
    write(
        "shop/function_app.py",
        "import azure.durable_functions as df\nimport azure.functions as func\napp = df.DFApp()\n"
        "@app.activity_trigger(input_name='given')\ndef wrong(given: str): return given\n"
        "@app.activity_trigger(input_name='given')\n"
        "def named(context: func.Context, given): return context.function_name, given\n"
        "@app.activity_trigger(input_name='payload')\ndef other(given): return given\n",
    )
    loaded = load_targets(["shop"])
    assert call_activity(loaded, "wrong", {"a": [1]}) == {"a": [1]}
    assert call_activity(loaded, "named", 5) == ("named", 5)
    assert call_activity(loaded, "other", 6) == 6


def test_an_activity_receives_a_client_of_the_kind_it_expects(tmp_path: Path) -> None:
    write(
        "shop/function_app.py",
        "import azure.durable_functions as df\napp = df.DFApp()\n"
        "@app.activity_trigger(input_name='given')\n@app.durable_client_input(client_name='client')\n"
        "def ask(given, client): return given, type(client).__name__\n"
        "@app.activity_trigger(input_name='given')\n@app.durable_client_input(client_name='client')\n"
        "async def wait(given, client): return given, type(client).__name__\n"
        "@app.activity_trigger(input_name='given')\n@app.durable_client_input(client_name='starter')\n"
        "def make(given, starter: str): return given, type(starter).__name__\n",
    )
    loaded = load_targets(["shop"])
    inject_clients(loaded.registry, lambda: ClientProvider(Client(tmp_path / "hub")))
    assert call_activity(loaded, "ask", 1) == (1, "SyncDurableFunctionsClient")
    assert asyncio.run(call_activity(loaded, "wait", 2)) == (2, "DurableFunctionsClient")
    assert call_activity(loaded, "make", 3) == (3, "ClientBinding")


def test_an_app_can_be_tested_without_a_daemon() -> None:
    with hub(load_targets(["v2_model"], APPS).registry) as tested:
        instance = tested.client.start_new("order", client_input={"item": "fig", "count": 2})
        status = tested.finish(instance)
    assert status.output == {"total": 6, "shipped": "2 x fig", "version": None}
