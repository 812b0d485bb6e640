"""The house keeps its shape: imports go down, the core is pure, and what is exported is what is promised."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import durablecli

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "durablecli"
PURE_FILES = sorted([*PACKAGE.glob("model/**/*.py"), *PACKAGE.glob("replay/**/*.py")])

# Reading a clock, a random source, a file or the environment, however the name was imported.
IMPURE = re.compile(
    r"\b(?:datetime\.(?:now|utcnow)|date\.today|time\.(?:time|monotonic|sleep|perf_counter)|random\.\w+|os\.\w+"
    r"|open|threading\.\w+|\w+\.(?:read_text|read_bytes|write_text|write_bytes|unlink|mkdir))$"
)


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_pure_packages_are_not_empty() -> None:
    assert {path.parent.name for path in PURE_FILES} >= {"model", "replay"}


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_pure_packages_call_nothing_impure(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [ast.unparse(call.func) for call in calls if IMPURE.search(ast.unparse(call.func))] == []


@pytest.mark.parametrize("call", ["datetime.now", "datetime.datetime.now", "open", "time.time", "path.read_text"])
def test_an_impure_call_is_detected(call: str) -> None:
    assert IMPURE.search(call)


def test_return_types_of_public_entity_methods_are_exported() -> None:
    faces = (durablecli.Client, durablecli.DurableOrchestrationContext, durablecli.EntityId)
    hints = [
        str(getattr(method, "__annotations__", {}).get("return"))
        for face in faces
        for base in face.__mro__[:-1]
        for method in vars(base).values()
        if callable(method)
    ]
    given = {name for hint in hints for name in re.findall(r"\b(?:Entity\w+|\w*Lock\w*|\w*Section)\b", hint)}
    assert given >= {"EntityStateResponse", "EntityStatus", "LockTask"}
    assert given | {"CriticalSection"} <= set(durablecli.__all__)


def test_all_names_exactly_what_is_exported() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("durablecli.")]
    exported = [alias.asname or alias.name for node in ours for alias in node.names]
    assert sorted(exported) == sorted(durablecli.__all__)
    for name in durablecli.__all__:
        assert getattr(durablecli, name) is not None
        assert name in dir(durablecli)


def test_the_changelog_has_the_current_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_changelog_has_the_sections_of_keep_a_changelog() -> None:
    sections = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert releases[0].startswith("[Unreleased]\n")
    for release in releases:
        used = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert used == [section for section in sections if section in used]


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for folder in ("durablecli", "workflows")
        for path in (ROOT / folder).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_file_refers_to_a_path_outside_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no git checkout")
    places = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w+|(?<![\w/])\.\./\.\./\.\./\w")
    found = []
    for name in filter(None, tracked.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            text = path.read_text(errors="replace")
            found += [f"{name}:{n}" for n, line in enumerate(text.splitlines(), 1) if places.search(line)]
    assert found == []
