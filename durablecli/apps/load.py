"""Loads what the settings name: modules of the author's, or the folder of an app of Azure's in one of its two layouts.

`function_app.py` declares functions by decorators. The older layout has a folder for each, whose function.json says
what starts it and what its parameters receive.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

from durablecli.apps import modules
from durablecli.apps.host_json import (
    HostSettings,
    find_disabling_setting,
    find_folder_of_file,
    is_azure_app,
    is_function_app_file,
    list_function_files,
    read_host_settings,
    read_json,
)
from durablecli.apps.modules import ROOT_PACKAGE, LoadedApp, Registrar
from durablecli.azure import import_hook
from durablecli.bindings import CloudTrigger, FunctionBindings, get_bindings
from durablecli.config import Config, import_folder
from durablecli.decorators import Entity, Orchestrator
from durablecli.errors import ConfigError
from durablecli.model import custom_objects
from durablecli.registry import Function, Registry

_APP_MODULE = "function_app"
_set_variables: dict[str, str] = {}
"""What the environment has of the app that is loaded."""


@dataclass(frozen=True)
class AzureApp:
    """An app that is loaded: its functions, and what its files say."""

    loaded: LoadedApp
    host: HostSettings

    @property
    def hub_name(self) -> str:
        return self.host.hub_name


def load_targets(targets: Sequence[str], base: str | os.PathLike[str] = ".", project: str | None = None) -> LoadedApp:
    """Import what `targets` name, relative to `base`; an app of Azure's as that. Raises ConfigError.

    Any module may import `azure.functions` and `azure.durable_functions`: they are durablecli's if one does.
    Modules may import what is in the folder `project` too.
    """
    paths = [os.path.normpath(os.path.join(base, target)) for target in targets]
    folder = find_folder_of_file(paths)
    if len(paths) == 1 and (is_azure_app(paths[0]) or (folder is not None and is_function_app_file(paths[0]))):
        return load_azure_app(folder or paths[0]).loaded
    _deactivate()
    host = read_host_settings(folder) if folder is not None else None
    try:
        _activate(host)
        loaded = modules.load(targets, base, project)
        if not import_hook.were_imported():
            import_hook.uninstall()
            return _finish_load(loaded, host, ())
        custom_objects.set_app_modules(loaded.sources)
        return _finish_load(loaded, host, list(_remove_disabled(loaded.registry)))
    except BaseException:
        unload()
        raise


def load_configured(config: Config) -> LoadedApp:
    """Import what the settings name. Raises ConfigError."""
    return load_targets(config.app, config.base, import_folder(config))


def load_azure_app(folder: str | os.PathLike[str]) -> AzureApp:
    """Import the app in a folder. Until something else is loaded, `azure.functions` and `azure.durable_functions` are
    durablecli's, and the values of local.settings.json are in the environment.

    Raises ConfigError, and leaves nothing behind then.
    """
    folder = os.path.abspath(folder)
    _deactivate()
    host = read_host_settings(folder)
    try:
        _activate(host)
        disabled: list[str] = []
        loaded = modules.load_modules(folder, _list_modules(folder, disabled))
        disabled += _remove_disabled(loaded.registry)
        custom_objects.set_app_modules(loaded.sources)
        return AzureApp(_finish_load(loaded, host, disabled), host)
    except BaseException:
        unload()
        raise


def _finish_load(loaded: LoadedApp, host: HostSettings | None, disabled: Iterable[str]) -> LoadedApp:
    """What was loaded, with its activities bound, and with what has to be said about it."""
    if any(each.is_azure or each.has_bindings for each in loaded.registry.functions_of_kind("activity")):
        from durablecli.azure.activities import bind_activities  # slow to import, and few apps need it

        bind_activities(loaded.registry)
    warnings = [*loaded.warnings, *_list_warnings(loaded.registry, host), *(f"disabled: {each}" for each in disabled)]
    return replace(loaded, warnings=tuple(warnings))


def unload() -> None:
    """Forget the app, and leave `azure` and the environment as they were before."""
    _deactivate()
    modules.unload()


def _activate(host: HostSettings | None) -> None:
    for name, value in host.environment.items() if host else ():
        if name not in os.environ:
            os.environ[name] = _set_variables[name] = value
    import_hook.install()


def _deactivate() -> None:
    import_hook.uninstall()
    custom_objects.clear_app_modules()
    while _set_variables:
        name, value = _set_variables.popitem()
        if os.environ.get(name) == value:  # what the app has put in its place is its own affair
            del os.environ[name]


def _list_warnings(registry: Registry, host: HostSettings | None) -> Iterator[str]:
    if host is not None and host.warning is not None:
        yield host.warning
    for function in registry.functions_of_kind("other"):
        kind = function.trigger.kind if isinstance(function.trigger, CloudTrigger) else "no trigger"
        yield f"not run here: {function.name} ({kind})"
    for function in registry:
        if function.bindings and function.kind != "other":
            yield from _list_binding_warnings(function)


def _list_binding_warnings(function: Function) -> Iterator[str]:
    """What becomes of the bindings of a function that need what only the cloud has."""
    inputs = {name: kind for name, kind in function.bindings.items() if name not in function.outputs}
    if inputs:
        yield f"{function.name} fails when it is called: only Azure provides its input {_format_bindings(inputs)}"
    elif function.outputs:
        yield f"{function.name} runs, but these bindings lead nowhere here: {_format_bindings(function.outputs)}"


def _format_bindings(bindings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in bindings.items())


def _list_modules(folder: str, disabled: list[str]) -> Iterator[tuple[str, Registrar]]:
    """The modules to import; functions that are disabled are noted in `disabled`, and aren't imported."""
    if os.path.isfile(os.path.join(folder, f"{_APP_MODULE}.py")):
        yield _APP_MODULE, Registry.add_module
        return
    for name, path in list_function_files(folder):
        definition = _read_definition(path)
        if (setting := find_disabling_setting(name, definition)) is not None:
            disabled.append(f"{name}, by {setting}")
            continue
        script = _find_script_module(folder, os.path.dirname(path), definition.get("scriptfile"))
        yield f"{ROOT_PACKAGE}.{script}", partial(_add_defined_function, name, definition)


def _remove_disabled(registry: Registry) -> Iterator[str]:
    """Take out the declared functions that a setting disables."""
    for function in list(registry):
        bindings = get_bindings(function.call)
        for name in dict.fromkeys((bindings.name if bindings else function.name, function.name)):
            if (setting := find_disabling_setting(name, {})) is not None:
                registry.remove(function)
                yield f"{name}, by {setting}"
                break


def _add_defined_function(name: str, definition: Mapping[str, Any], registry: Registry, module: ModuleType) -> None:
    entry = definition.get("entrypoint") or "main"
    found = getattr(module, entry, None)
    if isinstance(found, Orchestrator):
        found = found.orchestrator_function
    elif isinstance(found, Entity):
        found = found.entity_function
    if not callable(found):
        raise ConfigError(f"{name}/function.json: entryPoint: the module has no function '{entry}'")
    bindings = FunctionBindings(name, untyped=True)
    for binding in definition.get("bindings") or ():
        bindings.add(str(binding["type"]), str(binding.get("name", "")), binding)
    registry.add_function(Function(bindings.mark, found, module.__name__, bindings))


def _read_definition(path: str) -> dict[str, Any]:
    """What a function.json says, with its names in lower case, as they count without case."""
    found = _lower_keys(read_json(path))
    bindings = found.get("bindings")
    if isinstance(bindings, list):
        found["bindings"] = bindings = [_lower_keys(one) for one in bindings]
    if not isinstance(bindings, list) or not all("type" in one for one in bindings):
        raise ConfigError(f"{path}: expected an object with a list of bindings, each with its type")
    return found


def _lower_keys(found: Any) -> dict[str, Any]:
    return {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {}


def _find_script_module(root: str, folder: str, named: object) -> str:
    """The dotted name of a function's module, from the app's folder on."""
    for file in [str(named)] if named else ["__init__.py", "main.py"]:
        path = os.path.normpath(os.path.join(folder, file))
        inside = os.path.relpath(path, root)
        if os.path.isfile(path) and path.endswith(".py") and not inside.startswith(os.pardir):
            return inside.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")
    raise ConfigError(
        f"{os.path.join(folder, 'function.json')}: scriptFile: {named or 'main.py'}: no such file in the app"
    )
