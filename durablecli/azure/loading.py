"""Loads what the settings name: modules of the author's, or the folder of an app of Azure's in one of its two layouts.

`function_app.py` declares functions by decorators. The older layout has a folder for each, whose function.json says
what starts it and what its parameters receive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

from durablecli.app import Entity, Function, Orchestrator, Registry
from durablecli.azure import imports
from durablecli.azure.activities import bind
from durablecli.azure.host import Host, function_files, is_app, read, read_json
from durablecli.blueprints import Bindings, OtherTrigger
from durablecli.engine import loader
from durablecli.engine.loader import ROOT, Loaded, Take
from durablecli.errors import ConfigError
from durablecli.model import custom_objects

_CODE = "function_app"
_set: dict[str, str] = {}
"""What the environment has of the app that is loaded."""


@dataclass(frozen=True)
class AzureApp:
    """An app that is loaded: its functions, and what its files say."""

    loaded: Loaded
    host: Host

    @property
    def hub_name(self) -> str:
        return self.host.hub_name


def load(targets: Sequence[str], base: str | os.PathLike[str] = ".") -> Loaded:
    """Import what `targets` name, relative to `base`; an app of Azure's as that. Raises ConfigError."""
    folders = [os.path.normpath(os.path.join(base, target)) for target in targets]
    if len(folders) == 1 and is_app(folders[0]):
        return load_app(folders[0]).loaded
    _leave()
    return loader.load(targets, base)


def load_app(folder: str | os.PathLike[str]) -> AzureApp:
    """Import the app in a folder. Until something else is loaded, `azure.functions` and `azure.durable_functions` are
    durablecli's, and the values of local.settings.json are in the environment.

    Raises ConfigError, and leaves nothing behind then.
    """
    folder = os.fspath(folder)
    _leave()
    host = read(folder)
    try:
        _enter(host)
        loaded = loader.load_modules(folder, _modules(folder))
        bind(loaded.registry)
        custom_objects.use(loaded.sources)
    except BaseException:
        unload()
        raise
    return AzureApp(replace(loaded, remarks=tuple(_remarks(loaded.registry, host))), host)


def unload() -> None:
    """Forget the app, and leave `azure` and the environment as they were before."""
    _leave()
    loader.forget_earlier_loads()


def _enter(host: Host) -> None:
    for name, value in host.values.items():
        if name not in os.environ:
            os.environ[name] = _set[name] = value
    imports.install()


def _leave() -> None:
    imports.uninstall()
    custom_objects.forget()
    while _set:
        name, value = _set.popitem()
        if os.environ.get(name) == value:  # what the app has put in its place is its own affair
            del os.environ[name]


def _remarks(registry: Registry, host: Host) -> Iterator[str]:
    if host.remark is not None:
        yield host.remark
    for function in registry.of_kind("other"):
        kind = function.trigger.kind if isinstance(function.trigger, OtherTrigger) else "no trigger"
        yield f"not run here: {function.name} ({kind})"
    for function in registry:
        if function.bindings and function.kind != "other":
            yield from _bindings(function)


def _bindings(function: Function) -> Iterator[str]:
    """What becomes of the bindings of a function that need what only the cloud has."""
    inputs = {name: kind for name, kind in function.bindings.items() if name not in function.outputs}
    if inputs:
        yield f"{function.name} fails when it is called: only Azure provides its input {_listed(inputs)}"
    elif function.outputs:
        yield f"{function.name} runs, but these bindings lead nowhere here: {_listed(function.outputs)}"


def _listed(bindings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in bindings.items())


def _modules(folder: str) -> Iterator[tuple[str, Take]]:
    if os.path.isfile(os.path.join(folder, f"{_CODE}.py")):
        yield _CODE, _take_declared
        return
    for name, path in function_files(folder):
        definition = _definition(path)
        if definition.get("disabled") is not True:
            script = _script(folder, os.path.dirname(path), definition.get("scriptFile"))
            yield f"{ROOT}.{script}", partial(_take_defined, name, definition)


def _take_declared(registry: Registry, module: ModuleType) -> None:
    registry.add(module)


def _take_defined(name: str, definition: Mapping[str, Any], registry: Registry, module: ModuleType) -> None:
    entry = definition.get("entryPoint") or "main"
    found = getattr(module, entry, None)
    if isinstance(found, Orchestrator):
        found = found.orchestrator_function
    elif isinstance(found, Entity):
        found = found.entity_function
    if not callable(found):
        raise ConfigError(f"{name}/function.json: entryPoint: the module has no function '{entry}'")
    bindings = Bindings(name, loose=True)
    for binding in definition.get("bindings") or ():
        bindings.add(str(binding["type"]), str(binding.get("name", "")), binding)
    registry.declare(Function(bindings.mark, found, module.__name__, bindings))


def _definition(path: str) -> dict[str, Any]:
    found: Any = read_json(path)
    bindings = found.get("bindings") if isinstance(found, dict) else None
    if not isinstance(bindings, list) or not all(isinstance(one, dict) and "type" in one for one in bindings):
        raise ConfigError(f"{path}: expected an object with a list of bindings, each with its type")
    return dict(found)


def _script(root: str, folder: str, named: object) -> str:
    """The dotted name of a function's module, from the app's folder on."""
    for file in [str(named)] if named else ["__init__.py", "main.py"]:
        path = os.path.normpath(os.path.join(folder, file))
        inside = os.path.relpath(path, root)
        if os.path.isfile(path) and path.endswith(".py") and not inside.startswith(os.pardir):
            return inside.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
    raise ConfigError(
        f"{os.path.join(folder, 'function.json')}: scriptFile: {named or 'main.py'}: no such file in the app"
    )
