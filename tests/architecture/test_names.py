"""Names: a public class has a name of its own, and the name of a module repeats only where the list below allows it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "durablecli"

# The stand-ins of Azure's packages have Azure's names.
STAND_INS = {"azure/functions.py", "azure/durable_functions.py", "azure/durabletask_types.py", "azure/http_types.py"}

# Module names that repeat: each reads as one term with its folder. A verb of the command line is a file of its name.
REPEATED = {
    "client": {"client/client.py", "azure/client.py"},
    "context": {"replay/context.py", "entities/context.py"},
    "errors": {"errors.py", "replay/errors.py"},
    "history": {"store/check/history.py"},
    "rewind": {"replay/rewind.py"},
    "start": {"client/start.py"},
    "status": {"model/status.py"},
    "functions": {"azure/functions.py"},
    "writer": {"store/journal/writer.py", "store/history/writer.py"},
}


def modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def is_verb(module: str) -> bool:
    return module.startswith("cli/")


def repeated_modules(found: Iterable[str]) -> list[str]:
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for module in found:
        by_name[Path(module).stem].append(module)
    return [
        module
        for name, each in by_name.items()
        if len(each) > 1
        for module in each
        if not is_verb(module) and module not in REPEATED.get(name, set())
    ]


def public_classes(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """The classes at the top of each module, by name: which modules define one."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                by_name[node.name].append(module)
    return dict(by_name)


def repeated_classes(sources: Mapping[str, str]) -> dict[str, list[str]]:
    ours = {module: source for module, source in sources.items() if module not in STAND_INS}
    return {name: each for name, each in public_classes(ours).items() if len(each) > 1}


def test_a_public_class_has_a_name_of_its_own() -> None:
    assert repeated_classes({module: (PACKAGE / module).read_text() for module in modules()}) == {}


def test_a_repeated_class_would_be_seen() -> None:
    one, other = "class Reader: ...", "class Reader: ...\nclass _Reader: ..."
    assert repeated_classes({"a.py": one, "b.py": other, "azure/functions.py": one}) == {"Reader": ["a.py", "b.py"]}


def test_a_module_name_repeats_only_where_it_is_listed() -> None:
    assert repeated_modules(modules()) == []


def test_a_repeated_module_would_be_seen() -> None:
    assert repeated_modules(["store/tail.py", "client/tail.py", "cli/tail.py"]) == ["store/tail.py", "client/tail.py"]


def test_every_listed_repetition_is_there() -> None:
    stems = [Path(module).stem for module in modules()]
    assert [name for name, each in REPEATED.items() if stems.count(name) < 2 or not each <= set(modules())] == []
