"""Loading an app again: the changed code, or, if that can't be loaded, the code before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durablecli.apps.load import load_configured, unload
from durablecli.apps.modules import LoadedApp
from durablecli.apps.reload import ReloadError, StillChanging, reload
from durablecli.apps.source_changes import SourceChanges
from durablecli.config import Config

APP = """
import durablecli as df
import helper

@df.activity
def read() -> str:
    import late
    return helper.TEXT + late.TEXT
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "app.py").write_text(APP)
    (tmp_path / "helper.py").write_text("TEXT = 'old '\n")
    (tmp_path / "late.py").write_text("TEXT = 'old'\n")
    yield tmp_path
    unload()


def make_config(project: Path) -> Config:
    return Config(app=("flows",), base=str(project), project=str(project), state_dir=str(project / ".state"))


def call(app: LoadedApp) -> str:
    function = app.registry.find_activity("read")
    assert function is not None
    return str(function.call())


def fail_to_reload(project: Path, app: LoadedApp) -> str:
    with pytest.raises(ReloadError) as caught, reload(make_config(project), app):
        pass
    return str(caught.value)


def test_changed_files_of_the_app_and_of_the_project_are_loaded(project: Path) -> None:
    old = load_configured(make_config(project))
    (project / "helper.py").write_text("TEXT = 'new '\n")
    (project / "late.py").write_text("TEXT = 'new'\n")
    with reload(make_config(project), old) as new:
        assert call(new) == "new new"
        assert str(vars(sys.modules["app"])["read"]()) == "new new"


@pytest.mark.parametrize(
    ("file", "text", "error"),
    [
        ("flows/app.py", "def (:\n", "app.py:1: SyntaxError: invalid syntax"),
        ("helper.py", "TEXT = (\n", "helper.py:1: SyntaxError: '(' was never closed"),
        ("helper.py", "TEXT = 'a\0b'\n", "source code string cannot contain null bytes"),
        ("helper.py", "\n1 / 0\n", "helper.py:2: ZeroDivisionError: division by zero"),
        ("helper.py", "raise SystemExit(3)\n", "helper.py:1: SystemExit: 3"),
        ("flows/again.py", APP, "duplicate function name: read (activity, "),
    ],
)
def test_what_cant_be_loaded_leaves_everything_as_it_was(project: Path, file: str, text: str, error: str) -> None:
    old = load_configured(make_config(project))
    path = list(sys.path)
    (project / file).write_text(text)
    assert error in fail_to_reload(project, old)
    assert sys.path == path
    assert sys.modules["helper"].TEXT == "old "
    assert call(old) == "old old"  # which imports a module of the old code


def test_a_module_that_never_loaded_and_a_new_one_dont_hold_up_the_others(project: Path) -> None:
    (project / "flows" / "never.py").write_text("import nothing_of_this_name\n")
    old = load_configured(make_config(project))
    (project / "helper.py").write_text("TEXT = 'new '\n")
    (project / "flows" / "unfinished.py").write_text("def (:\n")
    with reload(make_config(project), old) as new:
        assert call(new) == "new old"
        assert {module.name for module in new.modules if module.error} == {"never", "unfinished"}


def test_a_file_that_is_written_while_it_is_loaded_is_loaded_again_later(project: Path) -> None:
    old = load_configured(make_config(project))
    write = f"import pathlib\npathlib.Path({str(project / 'late.py')!r}).write_text(\"TEXT = 'old' # more\")\n"
    (project / "helper.py").write_text(f"TEXT = 'new '\n{write}")
    (project / "flows" / "app.py").write_text("import late\n" + APP)
    with pytest.raises(StillChanging), reload(make_config(project), old):
        pass
    assert call(old) == "old old"


def test_an_error_of_the_caller_puts_the_old_app_back(project: Path) -> None:
    old = load_configured(make_config(project))
    (project / "helper.py").write_text("TEXT = 'new '\n")
    with pytest.raises(KeyError), reload(make_config(project), old):
        raise KeyError
    assert sys.modules["helper"].TEXT == "old "


def test_a_missing_folder_of_the_app_keeps_the_code(project: Path) -> None:
    old = load_configured(make_config(project))
    os.rename(project / "flows", project / "elsewhere")
    assert fail_to_reload(project, old) == "app: flows: no such folder, file or module"


def test_an_app_without_a_function_keeps_the_code(project: Path) -> None:
    old = load_configured(make_config(project))
    (project / "flows" / "app.py").write_text("")
    assert fail_to_reload(project, old) == "no functions found in flows"


def test_changed_files_are_those_whose_content_differs(project: Path) -> None:
    changes = SourceChanges(load_configured(make_config(project)))
    assert changes.find() == []
    helper = project / "helper.py"
    os.utime(helper, (1, 1))
    assert changes.find() == []
    helper.write_text("TEXT = 'OLD '\n")
    assert changes.find() == [str(helper)]
    helper.write_text("TEXT = 'old '\n")
    os.utime(helper, (2, 2))
    assert changes.find() == []
    helper.unlink()
    assert changes.find() == [str(helper)]


def test_given_contents_are_loaded_in_place_of_the_files(project: Path) -> None:
    from durablecli.apps.load import load_targets

    old = load_configured(make_config(project))
    contents = dict(old.contents)
    (project / "helper.py").write_text("broken(\n")
    unload()
    assert call(load_targets(["flows"], project, str(project), contents)) == "old old"
