"""Azure's packages in modules outside of an app folder: one file, several, a plain folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durablecli.apps.load import load_targets, unload
from durablecli.azure import import_hook
from durablecli.testing import hub
from tests.support.cli_harness import COMMAND

CODE = """
import os
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()
SETTING = os.environ.get("SHOP_SETTING")

@app.orchestration_trigger(context_name="context")
def greet(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("hello", context.get_input()))

@app.activity_trigger(input_name="name")
def hello(context: func.Context, name: str) -> str:
    return f"Hello {name}"

class Parcel:
    def __init__(self, item): self.item = item
    def to_json(self): return self.item
    @staticmethod
    def from_json(found): return Parcel(found)

@app.orchestration_trigger(context_name="context")
def parcels(context):
    parcel = yield context.call_activity("pack", "fig")
    return parcel.item

@app.activity_trigger(input_name="item")
@app.queue_output(arg_name="msg", queue_name="q", connection="c")
def pack(item: str, msg: func.Out[str]) -> Parcel:
    msg.set("packed")
    return Parcel(item)

@app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
def from_queue(msg: func.QueueMessage) -> None: ...
"""


@pytest.fixture(autouse=True)
def loads_nothing_else() -> Iterator[None]:
    unload()
    yield
    unload()
    assert not import_hook.is_installed()


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "targets"),
    [
        (["one_file.py"], ["one_file.py"]),
        (["flows/one_file.py"], ["flows/one_file.py"]),
        (["flows/one_file.py"], ["flows"]),
        (["one_file.py"], ["one_file"]),
        (["function_app.py"], ["function_app.py"]),
        (["shop/function_app.py", "shop/host.json"], ["shop/function_app.py"]),
        (["shop/one_file.py", "shop/host.json"], ["shop/one_file.py"]),
        (["package/__init__.py", "package/one_file.py"], ["package/one_file.py"]),
        (["one_file.py", "other.py"], ["one_file.py", "other.py"]),
    ],
)
def test_a_file_that_imports_azures_packages_loads_and_runs(files: list[str], targets: list[str]) -> None:
    for file in files:
        write(file, CODE if file.endswith(("one_file.py", "function_app.py")) else "")
        if file.endswith("host.json"):
            write(file, "{}")
    loaded = load_targets(targets)
    assert [module.error for module in loaded.modules if module.error] == []
    assert "not run here: from_queue (queueTrigger)" in loaded.warnings
    with hub(loaded.registry) as tested:
        assert tested.finish(tested.client.start_new("greet", client_input="Ann")).output == "Hello Ann"
        assert tested.finish(tested.client.start_new("parcels")).output == "fig"


def test_a_file_whose_helper_imports_them_loads_too() -> None:
    write("one_file.py", "from helper import app\n")
    write("helper.py", CODE)
    assert [one.name for one in load_targets(["one_file.py"]).registry] == [
        "from_queue",
        "greet",
        "hello",
        "pack",
        "parcels",
    ]


def test_one_file_of_an_app_is_loaded_with_the_settings_of_the_app() -> None:
    write("shop/host.json", "{}")
    write("shop/local.settings.json", '{"Values": {"SHOP_SETTING": "x"}}')
    write("shop/one_file.py", CODE)
    load_targets(["shop/one_file.py"])
    assert sys.modules["one_file"].SETTING == "x"
    write("flows/two.py", "")
    load_targets(["flows"])
    assert "SHOP_SETTING" not in os.environ


def test_a_module_that_imports_no_azure_package_leaves_the_installed_ones() -> None:
    write("one.py", "import json\n")
    load_targets(["one.py"])
    assert not import_hook.is_installed()


def test_a_module_with_errors_leaves_nothing_loaded() -> None:
    write("one.py", "import azure.functions\nraise KeyboardInterrupt\n")
    before = list(sys.meta_path), list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        load_targets(["one.py"])
    assert (list(sys.meta_path), list(sys.path)) == before


def test_commands_accept_one_file() -> None:
    write("one_file.py", CODE)
    arguments = ["run", "greet", "--app", "one_file.py", "--input", '"Ann"']
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, '"Hello Ann"\n'), done.stderr
