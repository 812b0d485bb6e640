"""Lets `import azure.functions` and `import azure.durable_functions` find durablecli's modules while an app is loaded.

`azure` is a namespace that many packages share. Only these two packages are found here, whether or not the real ones
are installed. Modules of the real ones that were imported before are set aside, and restored when the app is unloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:  # slow to import, with all of importlib.resources
    from importlib.abc import Loader

_NAMESPACE = "azure"
_FUNCTIONS = "azure.functions"
_DURABLE = "azure.durable_functions"
_IMPLEMENTATIONS = {_FUNCTIONS: "durablecli.azure.functions", _DURABLE: "durablecli.azure.durable_functions"}

# The submodules that apps import. Each has all names of its package.
_SUBMODULES = {
    _FUNCTIONS: (
        "_abc _cosmosdb _durable_functions _eventgrid _eventhub _http _queue _servicebus _sql blob cosmosdb decorators"
        " decorators.core decorators.function_app decorators.http decorators.timer decorators.utils durable_functions"
        " eventgrid eventhub extension http kafka meta queue servicebus sql timer warmup"
    ),
    _DURABLE: (
        "client constants decorators decorators.durable_app decorators.metadata entity http models"
        " models.DurableEntityContext models.DurableHttpRequest models.DurableOrchestrationClient"
        " models.DurableOrchestrationContext models.DurableOrchestrationStatus models.EntityStateResponse"
        " models.OrchestrationRuntimeStatus models.PurgeHistoryResult models.RetryOptions models.Task"
        " models.TokenSource models.utils models.utils.entity_utils orchestrator testing"
        " testing.OrchestratorGeneratorWrapper"
    ),
}
_IMPLEMENTATION_BY_NAME = dict(_IMPLEMENTATIONS) | {
    f"{package}.{name}": _IMPLEMENTATIONS[package] for package, names in _SUBMODULES.items() for name in names.split()
}
_PACKAGES = {name.rpartition(".")[0] for name in _IMPLEMENTATION_BY_NAME}


class _AliasModule(ModuleType):
    """A module of durablecli under a name of Azure's. A class with the name of a submodule isn't replaced by it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in vars(self)):
            super().__setattr__(name, value)


class _AzureFinder:
    """Finds and loads the two packages, and finds `azure` itself if no other package of that namespace is installed."""

    def __init__(self) -> None:
        self.displaced_modules: dict[str, ModuleType] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _NAMESPACE and not self._is_installed():
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        if name in _IMPLEMENTATION_BY_NAME:
            return ModuleSpec(name, cast("Loader", self), is_package=name in _PACKAGES)
        return None

    def _is_installed(self) -> bool:
        others = (finder for finder in sys.meta_path if finder is not self)
        return any(finder.find_spec(_NAMESPACE, None) is not None for finder in others)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AliasModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        home = import_module(_IMPLEMENTATION_BY_NAME[module.__name__])
        names = home.__all__ if module.__name__ in _IMPLEMENTATIONS else [name for name in vars(home) if name[0] != "_"]
        vars(module).update({name: getattr(home, name) for name in names}, __all__=list(names))


def install() -> None:
    """Make the two packages durablecli's."""
    uninstall()
    finder = _AzureFinder()
    finder.displaced_modules = _remove_modules()
    sys.meta_path.insert(0, finder)


def uninstall() -> None:
    """Restore the installed packages."""
    for finder in [found for found in sys.meta_path if isinstance(found, _AzureFinder)]:
        sys.meta_path.remove(finder)
        _remove_modules()
        top = sys.modules.get(_NAMESPACE)
        if top is not None and not list(getattr(top, "__path__", ())) and top.__spec__ and top.__spec__.origin is None:
            del sys.modules[_NAMESPACE]
        sys.modules.update(finder.displaced_modules)
        for name in _IMPLEMENTATIONS:
            if name in finder.displaced_modules and _NAMESPACE in sys.modules:
                setattr(sys.modules[_NAMESPACE], name.rpartition(".")[2], finder.displaced_modules[name])


def is_installed() -> bool:
    """Whether the two packages are durablecli's."""
    return any(isinstance(found, _AzureFinder) for found in sys.meta_path)


def were_imported() -> bool:
    """Whether one of them has been imported since `install`."""
    return is_installed() and any(name in sys.modules for name in _IMPLEMENTATIONS)


def _remove_modules() -> dict[str, ModuleType]:
    """Remove the modules of both packages from sys.modules, and return them."""
    names = [name for name in sys.modules if f"{name}.".startswith(tuple(f"{home}." for home in _IMPLEMENTATIONS))]
    top = sys.modules.get(_NAMESPACE)
    for name in _IMPLEMENTATIONS:
        if top is not None:
            vars(top).pop(name.rpartition(".")[2], None)
    return {name: sys.modules.pop(name) for name in names}
