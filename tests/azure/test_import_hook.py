"""`import azure.functions` while an app is loaded: durablecli's module, without effect on other packages or later."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from durablecli.azure import durable_functions, functions, import_hook

HIDDEN = """
    import importlib.machinery, sys
    find = importlib.machinery.PathFinder.find_spec
    def hide(name, path=None, target=None):
        return None if f"{name}.".startswith("azure.") else find(name, path, target)
    importlib.machinery.PathFinder.find_spec = staticmethod(hide)
"""


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    import_hook.install()
    yield
    import_hook.uninstall()
    assert not import_hook.is_installed()


def run_python(program: str, hidden: bool = False) -> str:
    """Run code in a new Python process, and return its output."""
    text = textwrap.dedent(HIDDEN if hidden else "") + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_azure_packages_are_the_stand_ins() -> None:
    ours, durable = importlib.import_module("azure.functions"), importlib.import_module("azure.durable_functions")
    assert ours.HttpRequest is functions.HttpRequest
    assert durable.DFApp is durable_functions.DFApp
    assert sorted(ours.__all__) == sorted(functions.__all__)


@pytest.mark.parametrize("name", ["azure.functions", "azure.durable_functions"])
def test_all_names_of_the_original_exist(name: str) -> None:
    import_hook.uninstall()
    spec = importlib.machinery.PathFinder.find_spec("azure")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("the original isn't installed")
    file = Path(next(iter(spec.submodule_search_locations)), name.partition(".")[2], "__init__.py")
    if not file.exists():
        pytest.skip("the original isn't installed")
    wanted = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
            found = ast.unparse(node)
            if "__all__" in found:
                wanted |= {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
    import_hook.install()
    module = importlib.import_module(name)
    assert len(wanted) > 8
    assert {one for one in wanted if isinstance(one, str)} - set(dir(module)) - {"__all__"} <= {"openai_agents"}


@pytest.mark.parametrize(
    "line",
    [
        "from azure.durable_functions.models.DurableOrchestrationContext import DurableOrchestrationContext as found",
        "from azure.durable_functions.models import DurableOrchestrationContext as found",
        "from azure.durable_functions.models.DurableOrchestrationStatus import DurableOrchestrationStatus as found",
        "from azure.durable_functions.models.PurgeHistoryResult import PurgeHistoryResult as found",
        "from azure.durable_functions.models.EntityStateResponse import EntityStateResponse as found",
        "from azure.durable_functions.models.TokenSource import TokenSource as found",
        "from azure.durable_functions.models.DurableHttpRequest import DurableHttpRequest as found",
        "from azure.durable_functions.models.Task import TaskBase as found",
        "from azure.durable_functions.models.utils.entity_utils import EntityId as found",
        "from azure.durable_functions.orchestrator import Orchestrator as found",
        "from azure.durable_functions.testing import orchestrator_generator_wrapper as found",
        "from azure.functions.decorators.core import AuthLevel as found",
        "from azure.functions.http import HttpRequest as found",
    ],
)
def test_submodules_that_apps_import_exist(line: str) -> None:
    names: dict[str, object] = {}
    exec(line, names)  # noqa: S102
    assert callable(names["found"])


def test_a_class_isnt_hidden_by_the_module_of_its_name() -> None:
    models = importlib.import_module("azure.durable_functions.models")
    importlib.import_module("azure.durable_functions.models.DurableOrchestrationContext")
    assert models.DurableOrchestrationContext is durable_functions.DurableOrchestrationContext


def test_modules_that_the_original_lacks_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"azure\.functions\.nonsense"):
        importlib.import_module("azure.functions.nonsense")


def test_other_packages_below_azure_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "azure" / "somewhere").mkdir(parents=True)
    (tmp_path / "azure" / "somewhere" / "__init__.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("azure.functions")
    other = importlib.import_module("azure.somewhere")
    import_hook.uninstall()
    assert importlib.import_module("azure.somewhere") is other
    del sys.modules["azure.somewhere"]


def test_modules_imported_before_are_restored() -> None:
    out = run_python("""
        import azure.functions as before
        from durablecli.azure import import_hook
        import_hook.install()
        from azure import functions as ours
        import azure.functions as again
        print(ours is again, ours is before, ours.__name__)
        import_hook.uninstall()
        from azure import functions as now
        import azure.functions as later
        print(now is before, later is before, "azure.functions.http" in __import__("sys").modules)
    """)
    assert out.split() == ["True", "False", "azure.functions", "True", "True", "True"]


def test_the_namespace_is_removed_if_no_other_package_is_in_it() -> None:
    out = run_python(
        """
        from durablecli.azure import import_hook
        import_hook.install()
        import azure.durable_functions as df
        print(df.DFApp.__name__)
        import_hook.uninstall()
        print([name for name in sys.modules if name.partition(".")[0] == "azure"])
        try:
            import azure
        except ModuleNotFoundError:
            print("gone")
        """,
        hidden=True,
    )
    assert out.split() == ["DFApp", "[]", "gone"]


def test_importing_durablecli_imports_no_stand_ins() -> None:
    out = run_python("import sys, durablecli; durablecli.DFApp; print([n for n in sys.modules if 'azure' in n])")
    assert out.strip() == "['durablecli.azure', 'durablecli.azure.blueprints']"


def test_an_orchestrator_can_be_driven_in_a_test() -> None:
    class Done:
        result = 4

    class Failed:
        @property
        def result(self) -> int:
            raise ValueError("no")

    def orchestrator(context: object) -> Generator[object, Any, str]:
        number = yield Done()
        try:
            yield Failed()
        except ValueError as error:
            return f"{number} {error}"
        return "nothing failed"

    *tasks, output = durable_functions.orchestrator_generator_wrapper(orchestrator(None))
    assert (len(tasks), output) == (2, "4 no")


@pytest.mark.parametrize("name", ["AtomicTask", "CompoundTask", "TaskBase", "TimerTask", "WhenAllTask", "WhenAnyTask"])
def test_tasks_have_their_original_class_names(name: str) -> None:
    found = importlib.import_module("azure.durable_functions.models.Task")
    assert not isinstance(1, getattr(found, name))


def test_an_app_exposes_its_auth_level_and_functions() -> None:
    found = importlib.import_module("azure.functions.decorators.function_app")
    app = functions.FunctionApp(http_auth_level=functions.AuthLevel.ADMIN)
    assert type(app) is found.FunctionApp

    @app.function_name("Named")
    @app.route()
    def work(req: str) -> str:
        return f"{req}!"

    (function,) = app.get_functions()
    assert app.auth_level is functions.AuthLevel.ADMIN
    assert (function.get_function_name(), function.is_http_function(), function("hi")) == ("Named", True, "hi!")
    built = found.FunctionBuilder(work, "function_app.py").build(app.auth_level)
    assert built.get_user_function() is function.get_user_function() is work


def test_a_queue_message_can_be_constructed_and_read() -> None:
    message = functions.QueueMessage(id="1", body='{"a": 1}')
    assert (message.id, message.get_body(), message.get_json()) == ("1", b'{"a": 1}', {"a": 1})
    assert (message.dequeue_count, message.insertion_time, message.pop_receipt) == (None, None, None)
    assert functions.QueueMessage().get_body() == b""


def test_an_invocation_has_an_empty_trace_context() -> None:
    trace = functions.Context().trace_context
    assert isinstance(trace, importlib.import_module("azure.functions._abc").TraceContext)
    assert (trace.trace_parent, trace.trace_state, trace.attributes) == ("", "", {})
