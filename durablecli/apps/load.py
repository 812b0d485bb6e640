"""Loads apps of every kind: plain modules, and folders of Azure function apps in both layouts.

While an app is loaded that imports `azure.functions` or `azure.durable_functions`, these packages are durablecli's, and
the values of its local.settings.json are in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from durablecli.apps import function_json, modules
from durablecli.apps.azure_folder import APP_MODULE, find_folder_of_app, find_folder_of_file, has_app_module
from durablecli.apps.declared_schedules import collect_schedules
from durablecli.apps.host_json import HostSettings, find_disabling_setting, read_host_settings
from durablecli.apps.modules import LoadedApp
from durablecli.azure import import_hook
from durablecli.azure.sdk_style import set_uses_sdk, uses_sdk
from durablecli.bindings import CloudTrigger, get_bindings
from durablecli.config import Config, import_folder
from durablecli.durabletask.sdk_functions import bind_functions, is_for_sdk, is_sdk_loaded
from durablecli.model import custom_objects
from durablecli.registry import Function, Registry

_set_variables: dict[str, str] = {}
"""The environment variables that were set for the loaded app."""


def load_configured(config: Config) -> LoadedApp:
    """Load the app that the settings name. Raises ConfigError."""
    loaded = load_targets(config.app, config.base, import_folder(config))
    problems = collect_schedules(loaded.registry, config).problems
    return replace(loaded, warnings=(*loaded.warnings, *problems)) if problems else loaded


def load_targets(
    targets: Sequence[str],
    base: str | os.PathLike[str] = ".",
    project: str | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> LoadedApp:
    """Load the modules that `targets` name, relative to `base`, or the Azure function app in a folder.

    Modules can also import from the folder `project`. Files that are in `contents` are not read. Raises ConfigError,
    and leaves nothing loaded then.
    """
    paths = [os.path.normpath(os.path.join(base, target)) for target in targets]
    _deactivate()
    if (folder := find_folder_of_app(paths)) is not None:
        return _load_azure_folder(os.path.abspath(folder), contents)
    folder = find_folder_of_file(paths)
    host = read_host_settings(folder) if folder is not None else None
    try:
        _activate(host)
        loaded = modules.load(targets, base, project, contents)
        if import_hook.were_imported():
            return _finish_azure_load(loaded, host, [])
        import_hook.uninstall()
        return _finish_load(loaded, host, [])
    except BaseException:
        unload()
        raise


def unload() -> None:
    """Unload the app, and restore `azure` and the environment."""
    _deactivate()
    modules.detach()


class DetachedApp(NamedTuple):
    """An app that isn't loaded at present, although its code may run, with what the process knows of it."""

    modules: modules.DetachedModules
    variables: Mapping[str, str]
    displaces_azure: bool
    custom_classes: Sequence[Container[str]]
    uses_sdk: bool


def detach() -> DetachedApp:
    """Unload the app. Returns it, for `attach`."""
    state = dict(_set_variables), import_hook.is_installed(), tuple(custom_objects.APP_MODULES), uses_sdk()
    _deactivate()
    return DetachedApp(modules.detach(), *state)


def attach(app: DetachedApp) -> None:
    """Have an app loaded again that was detached, in place of the one that is loaded."""
    _deactivate()
    modules.attach(app.modules)
    for name, value in app.variables.items():
        if name not in os.environ:
            os.environ[name] = _set_variables[name] = value
    if app.displaces_azure:
        import_hook.install()
    custom_objects.APP_MODULES[:] = app.custom_classes
    set_uses_sdk(app.uses_sdk)


def _load_azure_folder(folder: str, contents: Mapping[str, bytes] | None) -> LoadedApp:
    host = read_host_settings(folder)
    disabled: list[str] = []
    declared = (
        [(APP_MODULE, Registry.add_module)] if has_app_module(folder) else function_json.list_modules(folder, disabled)
    )
    try:
        _activate(host)
        return _finish_azure_load(modules.load_modules(folder, declared, contents), host, disabled)
    except BaseException:
        unload()
        raise


def _finish_azure_load(loaded: LoadedApp, host: HostSettings | None, disabled: list[str]) -> LoadedApp:
    disabled += _remove_disabled(loaded.registry)
    custom_objects.set_app_modules(loaded.sources)
    is_for_the_sdk = is_for_sdk(loaded.registry, loaded.sources)
    finished = _finish_load(loaded, host, disabled)
    set_uses_sdk(is_for_the_sdk and is_sdk_loaded())
    return finished


def _finish_load(loaded: LoadedApp, host: HostSettings | None, disabled: Iterable[str]) -> LoadedApp:
    """Bind the activities, and add the warnings about the app."""
    missing = bind_functions(loaded.registry)
    if any(each.is_azure or each.has_bindings for each in loaded.registry.functions_of_kind("activity")):
        from durablecli.azure.activities import bind_activities  # slow to import, and few apps need it

        bind_activities(loaded.registry)
    warnings = [
        *loaded.warnings,
        *missing,
        *_list_warnings(loaded.registry, host),
        *(f"disabled: {each}" for each in disabled),
    ]
    return replace(loaded, warnings=tuple(warnings))


def _activate(host: HostSettings | None) -> None:
    for name, value in host.environment.items() if host else ():
        if name not in os.environ:
            os.environ[name] = _set_variables[name] = value
    import_hook.install()


def _deactivate() -> None:
    import_hook.uninstall()
    custom_objects.clear_app_modules()
    set_uses_sdk(False)
    while _set_variables:
        name, value = _set_variables.popitem()
        if os.environ.get(name) == value:  # else the app itself has changed it since
            del os.environ[name]


def _remove_disabled(registry: Registry) -> Iterator[str]:
    """Remove the functions that a setting disables."""
    for function in list(registry):
        bindings = get_bindings(function.call)
        for name in dict.fromkeys((bindings.name if bindings else function.name, function.name)):
            if (setting := find_disabling_setting(name, {})) is not None:
                registry.remove(function)
                yield f"{name}, by {setting}"
                break


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
    inputs = {name: kind for name, kind in function.bindings.items() if name not in function.outputs}
    if inputs:
        yield f"{function.name} fails when it is called: only Azure provides its input {_format_bindings(inputs)}"
    elif function.outputs:
        yield f"{function.name} runs, but nothing is sent by its {_format_bindings(function.outputs)}"


def _format_bindings(bindings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in bindings.items())
