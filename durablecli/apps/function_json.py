"""The older layout of Azure function apps: a folder for each function, whose function.json declares it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from durablecli.apps.azure_folder import list_function_files
from durablecli.apps.host_json import find_disabling_setting, read_json
from durablecli.apps.modules import ROOT_PACKAGE, Registrar
from durablecli.bindings import FunctionBindings
from durablecli.decorators import Entity, Orchestrator
from durablecli.errors import ConfigError
from durablecli.registry import Function, Registry


def list_modules(folder: str, disabled: list[str]) -> Iterator[tuple[str, Registrar]]:
    """The modules to import, and how to register their functions. A disabled function isn't imported but noted."""
    for name, path in list_function_files(folder):
        definition = _read_definition(path)
        if (setting := find_disabling_setting(name, definition)) is not None:
            disabled.append(f"{name}, by {setting}")
            continue
        script = _find_script_module(folder, os.path.dirname(path), definition.get("scriptfile"))
        yield f"{ROOT_PACKAGE}.{script}", partial(_register_function, name, definition)


def _register_function(name: str, definition: Mapping[str, Any], registry: Registry, module: ModuleType) -> None:
    entry_point = definition.get("entrypoint") or "main"
    function = getattr(module, entry_point, None)
    if isinstance(function, Orchestrator):
        function = function.orchestrator_function
    elif isinstance(function, Entity):
        function = function.entity_function
    if not callable(function):
        raise ConfigError(f"{name}/function.json: entryPoint: the module has no function '{entry_point}'")
    bindings = FunctionBindings(name, untyped=True)
    for binding in definition.get("bindings") or ():
        bindings.add(str(binding["type"]), str(binding.get("name", "")), binding)
    registry.add_function(Function(bindings.mark, function, module.__name__, bindings))


def _read_definition(path: str) -> dict[str, Any]:
    """Read a function.json, with its keys in lower case, since they are compared without case."""
    definition = _lower_keys(read_json(path))
    bindings = definition.get("bindings")
    if isinstance(bindings, list):
        definition["bindings"] = bindings = [_lower_keys(one) for one in bindings]
    if not isinstance(bindings, list) or not all("type" in one for one in bindings):
        raise ConfigError(f"{path}: expected an object with a list of bindings, each with its type")
    return definition


def _lower_keys(value: Any) -> dict[str, Any]:
    return {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}


def _find_script_module(root: str, folder: str, script_file: object) -> str:
    """The dotted name of a function's module, relative to the folder of the app."""
    for file in [str(script_file)] if script_file else ["__init__.py", "main.py"]:
        path = os.path.normpath(os.path.join(folder, file))
        inside = os.path.relpath(path, root)
        if os.path.isfile(path) and path.endswith(".py") and not inside.startswith(os.pardir):
            return inside.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
    raise ConfigError(
        f"{os.path.join(folder, 'function.json')}: scriptFile: {script_file or 'main.py'}: no such file in the app"
    )
