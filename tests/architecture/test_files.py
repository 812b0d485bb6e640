"""Files: only the store writes any. Everywhere else a call that creates, changes or removes a file is refused."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "durablecli"

WRITES = re.compile(
    r"(?:^|\.)(?:"
    r"os\.(?:open|replace|rename|renames|unlink|remove|mkdir|makedirs|rmdir|removedirs|mkfifo|truncate|link|symlink|chmod|utime)"
    r"|shutil\.\w+|tempfile\.\w+|sqlite3\.connect"
    r"|write_text|write_bytes|unlink|mkdir|rmdir|touch|symlink_to|hardlink_to"
    r")$"
)

# Writes that are no file of a hub: each module with the reason.
EXCEPTIONS = {
    "__main__.py": "standard streams that are closed become /dev/null",
    "azure/http_types.py": "an author saves an uploaded file where the author says",
    "scaffold/new_project.py": "a new project is written where the author says",
}


def writes(source: str) -> list[str]:
    """The calls in a module that write files, as `line: call`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if WRITES.search(name) or (re.search(r"(?:^|\.)(?:open|fdopen)$", name) and _is_for_writing(node)):
                found.append(f"{node.lineno}: {name}")
    return found


def _is_for_writing(call: ast.Call) -> bool:
    is_builtin = isinstance(call.func, ast.Name) and call.func.id == "open"
    values = [
        *call.args[is_builtin:],
        *(keyword.value for keyword in call.keywords if keyword.arg in ("mode", "flags")),
    ]
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return any(re.fullmatch(r"[rbt]*[wax+][rwaxbt+]*", text) for text in texts)


def test_only_the_store_writes_files() -> None:
    found = {
        name: calls
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith("store/")
        and name not in EXCEPTIONS
        and (calls := writes(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "call",
    [
        'open("a", "w")',
        'path.open(mode="ab")',
        "os.open(path, flags)",
        "os.replace(a, b)",
        "Path(x).write_text(text)",
        "path.unlink(missing_ok=True)",
        "tempfile.mkdtemp()",
        "shutil.rmtree(x)",
        "sqlite3.connect(path)",
    ],
)
def test_a_write_would_be_seen(call: str) -> None:
    assert writes(call)


@pytest.mark.parametrize(
    "call", ['open("a")', 'open("a", "rb")', "os.write(fd, data)", 'text.replace("a", "b")', "path.read_text()"]
)
def test_a_read_is_no_write(call: str) -> None:
    assert not writes(call)
