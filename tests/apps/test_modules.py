"""Loading modules: which are found, which are errors, and that loads are independent of each other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durablecli.apps.modules import LoadedApp, load
from durablecli.errors import ConfigError

ACTIVITY = "from durablecli.decorators import activity\n\n@activity\ndef {name}(x: int) -> int:\n    return {value}\n"


@pytest.fixture(autouse=True)
def loads_nothing_else(tmp_path: Path) -> Iterator[None]:
    load([], tmp_path)  # whatever another test has loaded goes first
    path = list(sys.path)
    yield
    load([], tmp_path)
    assert sys.path == path


def write(name: str, text: str = "") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def activity(name: str, value: object = 1) -> str:
    return ACTIVITY.format(name=name, value=value)


def module_errors(loaded: LoadedApp) -> dict[str, str | None]:
    return {module.name: module.error for module in loaded.modules}


def call_activity(loaded: LoadedApp, name: str) -> object:
    function = loaded.registry.find_activity(name)
    assert function is not None
    return function.call(0)


def test_a_folder_provides_the_functions_of_all_its_modules() -> None:
    write("flows/one.py", activity("first", 1))
    write("flows/two.py", activity("second", 2))
    loaded = load(["flows"])
    assert [(module.name, module.path, module.error) for module in loaded.modules] == [
        ("one", "flows/one.py", None),
        ("two", "flows/two.py", None),
    ]
    assert (call_activity(loaded, "first"), call_activity(loaded, "second")) == (1, 2)


def test_private_modules_and_tests_are_not_loaded() -> None:
    for name in ("_private", "test_one", "__main__"):
        write(f"flows/{name}.py", "raise AssertionError('loaded')\n")
    write("flows/testing_ground.py")
    write("flows/notes.txt")
    assert module_errors(load(["flows"])) == {"testing_ground": None}


def test_siblings_import_each_other_by_name_even_private_ones() -> None:
    write("flows/one.py", "from _shared import VALUE\nimport two\n" + activity("first", "VALUE + two.VALUE"))
    write("flows/two.py", "VALUE = 2\n")
    write("flows/_shared.py", "VALUE = 40\n")
    assert call_activity(load(["flows"]), "first") == 42


def test_packages_are_loaded_with_their_modules() -> None:
    write("flows/billing/__init__.py")
    write("flows/billing/invoice.py", "from . import _rates\n" + activity("invoice", "_rates.VALUE"))
    write("flows/billing/_rates.py", "VALUE = 7\n")
    write("flows/billing/deep/__init__.py", activity("deep", 8))
    write("flows/no_package/hidden.py", "raise AssertionError('loaded')\n")
    loaded = load(["flows"])
    assert module_errors(loaded) == {"billing": None, "billing.deep": None, "billing.invoice": None}
    assert (call_activity(loaded, "invoice"), call_activity(loaded, "deep")) == (7, 8)


def test_a_folder_that_is_a_package_keeps_its_relative_imports() -> None:
    write("src/flows/__init__.py")
    write("src/flows/one.py", "from .two import VALUE\n" + activity("first", "VALUE"))
    write("src/flows/two.py", "VALUE = 3\n")
    loaded = load(["src/flows"])
    assert module_errors(loaded) == {"flows": None, "flows.one": None, "flows.two": None}
    assert call_activity(loaded, "first") == 3


def test_a_file_is_loaded_whatever_its_name() -> None:
    write("flows/test_one.py", activity("first", 1))
    write("flows/other.py", "raise AssertionError('loaded')\n")
    assert module_errors(load(["flows/test_one.py"])) == {"test_one": None}


def test_a_file_in_a_package_keeps_its_relative_imports() -> None:
    write("flows/__init__.py")
    write("flows/one.py", "from . import two\n" + activity("first", "two.VALUE"))
    write("flows/two.py", "VALUE = 4\n")
    loaded = load(["flows/one.py"])
    assert module_errors(loaded) == {"flows.one": None}
    assert call_activity(loaded, "first") == 4


def test_a_dotted_name_is_relative_to_the_base() -> None:
    write("project/my/__init__.py")
    write("project/my/flows.py", activity("first", 5))
    loaded = load(["my.flows"], "project")
    assert module_errors(loaded) == {"my.flows": None}
    assert call_activity(loaded, "first") == 5


def test_an_installed_module_can_be_named() -> None:
    assert module_errors(load(["iniconfig.exceptions"])) == {"iniconfig.exceptions": None}


def test_a_module_named_twice_is_loaded_once() -> None:
    write("flows/one.py", "import builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\n")
    import builtins

    assert module_errors(load(["flows", "flows/one.py", "flows"])) == {"one": None}
    assert builtins.__dict__.pop("loads") == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\nraise ValueError('no\\ngood')\n", "flows/bad.py:2: ValueError: no good"),
        ("x = 1\nx = = 2\n", "flows/bad.py:2: SyntaxError: invalid syntax"),
        ("import no_such_thing\n", "flows/bad.py:1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("\nimport json\njson.loads('x')\n", "flows/bad.py:3: JSONDecodeError: Expecting value"),
        ("import sys\nsys.exit(3)\n", "flows/bad.py:2: SystemExit: 3"),
        ("import _helper\n", "flows/_helper.py:2: ZeroDivisionError: division by zero"),
        ("raise ValueError\n", "flows/bad.py:1: ValueError"),
    ],
)
def test_a_module_that_fails_is_listed_and_the_others_load(text: str, error: str) -> None:
    write("flows/bad.py", text)
    write("flows/_helper.py", "\n1 / 0\n")
    write("flows/good.py", activity("first", 1))
    loaded = load(["flows"])
    found = module_errors(loaded)
    assert found["good"] is None
    assert found["bad"] is not None
    assert found["bad"].startswith(error)
    assert "\n" not in found["bad"]
    assert call_activity(loaded, "first") == 1


def test_ctrl_c_while_loading_is_not_an_error_of_the_module() -> None:
    write("flows/one.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(["flows"])


def test_a_module_that_failed_is_loaded_again() -> None:
    write("flows/one.py", "raise ValueError\n")
    load(["flows"])
    write("flows/one.py", activity("first", 1))
    assert call_activity(load(["flows"]), "first") == 1


@pytest.mark.parametrize("name", ["json", "queue", "click", "durablecli"])
def test_a_module_may_not_shadow_a_standard_one(name: str) -> None:
    write(f"flows/{name}.py", "raise AssertionError('loaded')\n")
    said = f"flows/{name}.py: the name {name} is reserved for Python or durablecli; rename the file"
    assert module_errors(load(["flows"])) == {name: said}


def test_private_files_shadow_no_standard_module() -> None:
    write("flows/one.py", "import colorsys\n" + activity("first", "colorsys.__file__"))
    write("flows/colorsys.py", "raise AssertionError('loaded')\n")
    sys.modules.pop("colorsys", None)
    assert call_activity(load(["flows"]), "first") != str(Path("flows/colorsys.py").resolve())


def test_two_folders_with_a_module_of_one_name_conflict() -> None:
    write("a/one.py", activity("first", 1))
    write("b/one.py", activity("second", 2))
    loaded = load(["a", "b"])
    assert [(module.path, module.error) for module in loaded.modules] == [
        ("a/one.py", None),
        ("b/one.py", "b/one.py: the name one is taken by a/one.py; rename the file"),
    ]


def test_equal_names_in_different_loads_do_not_conflict() -> None:
    for folder, value in (("a", 1), ("b", 2)):
        write(f"{folder}/one.py", "import _helper\n" + activity("first", "_helper.VALUE"))
        write(f"{folder}/_helper.py", f"VALUE = {value}\n")
    early = load(["a"])
    late = load(["b"])
    assert (call_activity(early, "first"), call_activity(late, "first")) == (1, 2)


def test_modules_of_an_earlier_folder_are_unloaded() -> None:
    write("a/one.py", "import _helper\n")
    write("a/_helper.py")
    write("b/two.py", "import _helper\n")
    assert module_errors(load(["a"])) == {"one": None}
    found = module_errors(load(["b"]))["two"]
    assert found == "b/two.py:1: ModuleNotFoundError: No module named '_helper'"


def test_changed_code_is_read_and_no_cache_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for value in (1, 2, 3):
        write("flows/one.py", "import two\n" + activity("first", "two.VALUE"))
        write("flows/two.py", f"VALUE = {value}\n")
        os.utime("flows/two.py", (1_000_000_000, 1_000_000_000))
        assert call_activity(load(["flows"]), "first") == value
    assert sorted(os.listdir("flows")) == ["one.py", "two.py"]


def test_other_imports_survive_a_later_load() -> None:
    write("flows/one.py", "import iniconfig\n")
    load(["flows"])
    before = sys.modules["iniconfig"]
    load(["flows"])
    assert sys.modules["iniconfig"] is before


def test_a_process_spawned_by_the_author_finds_the_modules() -> None:
    write("flows/one.py", "VALUE = 6\n")
    load(["flows"])
    program = f"import sys; sys.path[:] = {sys.path!r}; import one; print(one.VALUE)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"6\n"


@pytest.mark.parametrize("target", ["nowhere", "no/where", "nowhere.py", "no.where", "iniconfig.nowhere", "", "-x"])
def test_a_missing_target_is_an_error_that_names_it(target: str) -> None:
    if not target:
        assert load([target]).modules == ()  # the base itself
        return
    with pytest.raises(ConfigError, match=rf"^app: {target}: no such (file|folder|folder, file or module)$"):
        load([target])


def test_a_dotted_module_that_fails_to_import_another_is_listed() -> None:
    write("flows/__init__.py")
    write("flows/one.py", "import flowsy\n")
    assert module_errors(load(["flows.one"])) == {
        "flows.one": "flows/one.py:1: ModuleNotFoundError: No module named 'flowsy'"
    }


def test_no_targets_load_nothing() -> None:
    loaded = load([])
    assert loaded.modules == ()
    assert loaded.registry.find_activity("anything") is None


def test_unresolved_annotations_are_reported() -> None:
    write(
        "flows/one.py",
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import TYPE_CHECKING, Literal\n"
        "import durablecli as df\n"
        "if TYPE_CHECKING:\n"
        "    from decimal import Decimal\n"
        "    from durablecli import ActivityContext, DurableOrchestrationContext\n"
        "@dataclass\n"
        "class Order:\n"
        "    price: Decimal\n"
        "@df.activity\n"
        "def pack(order: Order, context: ActivityContext) -> Literal['a', 'b']: ...\n"
        "@df.activity\n"
        "def price(order: int) -> list[Decimal]: ...\n"
        "@df.orchestrator\n"
        "def ship(context: DurableOrchestrationContext): ...\n"
        "@df.entity\n"
        "class Cart:\n"
        "    total: Decimal\n"
        "    def add(self, order: list[Order], context: df.DurableEntityContext) -> Decimal: ...\n",
    )
    found = [remark.partition(". ")[0] for remark in load(["flows"]).warnings]
    assert found == [
        "flows/one.py:17: Cart: can't resolve the annotation of total: Decimal; Order.price: Decimal",
        "flows/one.py:11: pack: can't resolve the annotation of Order.price: Decimal",
        "flows/one.py:13: price: can't resolve the annotation of return value: list[Decimal]",
    ]


# ── the project's folder ───────────────────────────────────────────────────────────────────────────────────────────


def test_modules_import_packages_and_modules_of_the_project(tmp_path: Path) -> None:
    write("shop/__init__.py", "VALUE = 40\n")
    write("shop/deep/more.py", "VALUE = 1\n")
    write("plain/inner.py", "VALUE = 1\n")
    write("settings_of_mine.py", "raise AssertionError('loaded as if it were of the app')\n")
    body = "from shop import VALUE\nimport shop.deep.more, plain.inner\n"
    write("workflows/one.py", body + activity("first", "VALUE + shop.deep.more.VALUE + plain.inner.VALUE"))
    loaded = load(["workflows"], tmp_path, str(tmp_path))
    assert module_errors(loaded) == {"one": None}
    assert call_activity(loaded, "first") == 42
    write("shop/__init__.py", "VALUE = 50\n")
    assert call_activity(load(["workflows"], tmp_path, str(tmp_path)), "first") == 52
    assert (
        module_errors(load(["workflows"], tmp_path))["one"]
        == "workflows/one.py:1: ModuleNotFoundError: No module named 'shop'"
    )


def test_the_project_does_not_shadow_installed_modules_or_the_app(tmp_path: Path) -> None:
    write("click.py", "raise AssertionError('not the installed one')\n")
    write("hypothesis/__init__.py", "raise AssertionError('not the installed one')\n")
    write("sibling.py", "raise AssertionError('not that of the app')\n")
    write("workflows/sibling.py", "VALUE = 1\n")
    write("workflows/one.py", "import click, hypothesis, sibling\n" + activity("first", "sibling.VALUE"))
    assert call_activity(load(["workflows"], tmp_path, str(tmp_path)), "first") == 1


def test_a_state_directory_is_not_imported(tmp_path: Path) -> None:
    write("hub/hub.json", "{}")
    write("hub/planted.py", "raise AssertionError('loaded')\n")
    write("workflows/one.py", "import hub.planted\n")
    assert "ModuleNotFoundError: No module named 'hub'" in str(
        module_errors(load(["workflows"], tmp_path, str(tmp_path)))["one"]
    )


def test_processes_spawned_by_the_author_find_the_project_too(tmp_path: Path) -> None:
    write("shop.py", "VALUE = 5\n")
    write("workflows/one.py", "import shop\nVALUE = shop.VALUE\n")
    load(["workflows"], tmp_path, str(tmp_path))
    program = f"import sys; sys.path[:] = {sys.path!r}; import one; print(one.VALUE)"
    assert subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True).stdout == b"5\n"


def test_a_module_can_change_and_remove_the_current_folder(tmp_path: Path) -> None:
    write(
        "flows/one.py",
        "import os\nos.mkdir('/tmp/gone-' + str(os.getpid())); os.chdir('/tmp/gone-' + str(os.getpid()))\n"
        "os.rmdir(os.getcwd())\n" + activity("first"),
    )
    write("flows/two.py", activity("second"))
    loaded = load(["flows"], tmp_path)
    os.chdir(tmp_path)
    assert module_errors(loaded) == {"one": None, "two": None}
