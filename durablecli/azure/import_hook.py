"""Lets `import azure.functions` and `import azure.durable_functions` find ours while an app of Azure's is loaded.

`azure` is a namespace that many packages share. Only these two names and what is in them are found here, whether or not
the real packages are installed; what was imported of them before is put aside, and back when the app is unloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_TOP = "azure"
_FUNCTIONS = "azure.functions"
_DURABLE = "azure.durable_functions"
_HOMES = {_FUNCTIONS: "durablecli.azure.functions", _DURABLE: "durablecli.azure.durable_functions"}

# The modules that apps may reach into. Each holds all that its package has.
_INSIDE = {
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
_HOME_OF = dict(_HOMES) | {
    f"{package}.{name}": _HOMES[package] for package, names in _INSIDE.items() for name in names.split()
}
_PACKAGES = {name.rpartition(".")[0] for name in _HOME_OF}


class _Facade(ModuleType):
    """A module of ours under a name of Azure's. A class that is called as a module inside stays what it is."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in vars(self)):
            super().__setattr__(name, value)


class _Finder(MetaPathFinder, Loader):
    """Finds the two packages, and `azure` itself where nothing else is installed below that name."""

    def __init__(self) -> None:
        self.aside: dict[str, ModuleType] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _TOP and not self._is_installed():
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        if name in _HOME_OF:
            return ModuleSpec(name, self, is_package=name in _PACKAGES)
        return None

    def _is_installed(self) -> bool:
        others = (finder for finder in sys.meta_path if finder is not self)
        return any(finder.find_spec(_TOP, None) is not None for finder in others)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Facade(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        home = import_module(_HOME_OF[module.__name__])
        names = home.__all__ if module.__name__ in _HOMES else [name for name in vars(home) if name[0] != "_"]
        vars(module).update({name: getattr(home, name) for name in names}, __all__=list(names))


def install() -> None:
    """From now on the two names are ours."""
    uninstall()
    finder = _Finder()
    finder.aside = _take_out()
    sys.meta_path.insert(0, finder)


def uninstall() -> None:
    """From now on they are whatever is installed, as it was before."""
    for finder in [found for found in sys.meta_path if isinstance(found, _Finder)]:
        sys.meta_path.remove(finder)
        _take_out()
        top = sys.modules.get(_TOP)
        if top is not None and not list(getattr(top, "__path__", ())) and top.__spec__ and top.__spec__.origin is None:
            del sys.modules[_TOP]
        sys.modules.update(finder.aside)
        for name in _HOMES:
            if name in finder.aside and _TOP in sys.modules:
                setattr(sys.modules[_TOP], name.rpartition(".")[2], finder.aside[name])


def is_installed() -> bool:
    """Whether the two names are ours."""
    return any(isinstance(found, _Finder) for found in sys.meta_path)


def are_used() -> bool:
    """Whether one of them has been imported since."""
    return is_installed() and any(name in sys.modules for name in _HOMES)


def _take_out() -> dict[str, ModuleType]:
    """The modules of both packages, which nobody finds imported any more."""
    names = [name for name in sys.modules if f"{name}.".startswith(tuple(f"{home}." for home in _HOMES))]
    top = sys.modules.get(_TOP)
    for name in _HOMES:
        if top is not None:
            vars(top).pop(name.rpartition(".")[2], None)
    return {name: sys.modules.pop(name) for name in names}
