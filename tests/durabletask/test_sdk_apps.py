"""How functions for the `durabletask` SDK are found in plain modules, and what is said if it isn't installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durablecli import testing
from durablecli.apps.load import load_targets, unload
from durablecli.apps.modules import LoadedApp
from durablecli.azure.sdk_style import uses_sdk

MODULE = '''
"""Written for a worker of the SDK: it has no decorators."""
from durabletask import task
from durabletask.entities import DurableEntity, EntityContext
from helpers import imported


def hello(ctx: task.ActivityContext, name: str) -> str:
    return f"Hello, {name}!"


def greet(ctx: task.OrchestrationContext, names: list[str]):
    first = yield ctx.call_activity(hello, input=names[0])
    return [first, (yield ctx.call_activity(imported, input=len(names)))]


def count(ctx: EntityContext, amount):
    ctx.set_state(ctx.get_state(int, 0) + amount)


class Basket(DurableEntity):
    """Takes things."""

    def put(self, thing: str) -> None:
        self.set_state(thing)


def helper(ctx: task.OrchestrationContext):
    yield ctx.create_timer(ctx.current_utc_datetime)


def three(ctx: task.ActivityContext, one, two):
    return one


def _private(ctx: task.ActivityContext, one):
    return one


def plain(number, more):
    return number
'''
HELPERS = """
from __future__ import annotations
import typing

if typing.TYPE_CHECKING:
    from durabletask.task import ActivityContext


def imported(ctx: ActivityContext, number: int) -> int:
    return number
"""
DECORATED = """
import durablecli as df


@df.activity
def hello(name: str) -> str:
    return f"Hello, {name}!"


@df.orchestrator(name="greetings")
def greet(ctx, names):
    first = yield ctx.call_activity(hello, input=names[0])
    second = yield ctx.call_activity("hello", input=names[1])
    return [first, second]


@df.entity
def count(ctx, amount):
    ctx.set_state(ctx.get_state(int, 0) + amount)


@df.orchestrator
def ours(context):
    return (yield context.call_activity(hello, context.get_input()))


@df.orchestrator
def ours_with_a_default(context, retries=3):
    return retries
"""


def load(**modules: str) -> LoadedApp:
    for name, text in modules.items():
        Path(f"{name}.py").write_text(text)
    return load_targets([f"{name}.py" for name in modules if name != "helpers"])


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    unload()


def test_functions_with_annotated_contexts_are_found() -> None:
    loaded = load(flows=MODULE, helpers=HELPERS)
    assert [module.error for module in loaded.modules] == [None]
    assert [(each.kind, each.signature) for each in loaded.registry] == [
        ("entity", "Basket{put(thing: str) -> None}"),
        ("entity", "count(ctx: durabletask.entities.entity_context.EntityContext, amount)"),
        ("orchestrator", "greet(ctx: durabletask.task.OrchestrationContext, names: list[str])"),
        ("activity", "hello(ctx: durabletask.task.ActivityContext, name: str) -> str"),
        ("activity", "imported(ctx: 'ActivityContext', number: 'int') -> 'int'"),
    ]
    assert all(str(Path.cwd()) in each.source_location for each in loaded.registry)
    with testing.hub(loaded.registry) as hub:
        assert hub.finish(hub.client.start_new("greet", client_input=["a", "b"])).output == ["Hello, a!", 2]


def test_decorated_functions_need_no_annotations() -> None:
    loaded = load(flows=DECORATED)
    with testing.hub(loaded.registry) as hub:
        assert hub.finish(hub.client.start_new("greetings", client_input=["a", "b"])).output == [
            "Hello, a!",
            "Hello, b!",
        ]
        assert hub.finish(hub.client.start_new("ours", client_input="c")).output == "Hello, c!"
        assert hub.finish(hub.client.start_new("ours_with_a_default")).output == 3
        hub.client.signal_entity("@count@x", "add", 2)
        hub.run()
        assert hub.client.read_entity_state("@count@x").entity_state == 2


def run_python(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    return found.stdout + found.stderr


def without_sdk(code: str) -> str:
    """Run code in a process in which the SDK isn't installed."""
    return run_python(f"import sys\nfor name in ('durabletask', 'grpc', 'google'): sys.modules[name] = None\n{code}")


def test_without_the_sdk_the_extra_is_named() -> None:
    Path("flows.py").write_text(MODULE)
    Path("decorated.py").write_text(DECORATED)
    show = "from durablecli.apps.load import load_targets\n"
    text = without_sdk(f"{show}print(load_targets(['flows.py']).modules[0].error)")
    assert text == (
        "flows.py:3: ModuleNotFoundError: import of durabletask halted; None in sys.modules: "
        "it comes with pip install 'durablecli[grpc]'\n"
    )
    text = without_sdk(
        f"{show}found = load_targets(['decorated.py'])\nprint([each.name for each in found.registry])\n"
        "print(*found.warnings, sep='\\n')"
    )
    assert text.splitlines()[0] == "['hello', 'ours', 'ours_with_a_default']"
    assert [line.split(" (")[0] for line in text.splitlines()[1:]] == ["not run here: count", "not run here: greetings"]
    assert "written for the durabletask SDK, which isn't installed" in text
    assert "pip install 'durablecli[grpc]'" in text


def test_other_modules_do_not_import_the_sdk() -> None:
    Path("plain.py").write_text(DECORATED.partition("@df.orchestrator(name")[0])
    text = run_python(
        "import sys\nfrom durablecli.apps.load import load_targets\n"
        "print([each.name for each in load_targets(['plain.py']).registry])\n"
        "print([name for name in sys.modules if name in ('durabletask', 'grpc', 'google.protobuf')])"
    )
    assert text == "['hello']\n[]\n"


AZURE = """
import azure.durable_functions as df

app = df.DFApp()


@app.orchestration_trigger(context_name="context")
def older(context):
    return 1
"""
NEWER = """

@app.orchestration_trigger(context_name="ctx")
def newer(ctx, given):
    return given
"""


@pytest.mark.parametrize(
    ("text", "expected"), [(AZURE, False), (AZURE + NEWER, True), (f"import durabletask.task\n{AZURE}", True)]
)
def test_an_app_in_the_style_of_the_sdk_gets_its_objects(text: str, expected: bool) -> None:
    load(function_app=text)
    assert uses_sdk() is expected
    unload()
    assert uses_sdk() is False
