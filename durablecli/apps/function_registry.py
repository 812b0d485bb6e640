"""Makes a registry of functions, modules and apps that a program has imported itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from durablecli.azure.blueprints import Blueprint
from durablecli.durabletask.sdk_functions import bind_functions, mark_function, mark_functions
from durablecli.errors import ConfigError
from durablecli.registry import Registry
from durablecli.replay.function_marks import get_mark


def build_registry(functions: Iterable[Any]) -> Registry:
    """Create a registry of these functions, apps and modules. Raises TypeError for anything else, and ConfigError for a
    function that can't run here."""
    registry = Registry()
    add_functions(registry, functions)
    return registry


def add_functions(registry: Registry, functions: Iterable[Any]) -> None:
    """Add functions, apps and modules to a registry; raises as `build_registry` does."""
    module = ModuleType("app")
    for index, each in enumerate(functions):
        if isinstance(each, ModuleType):
            mark_functions(each)
            registry.add_module(each)
        elif isinstance(each, Blueprint) or get_mark(each) is not None or mark_function(each):
            setattr(module, f"function_{index}", each)
        else:
            raise TypeError(f"{each!r} isn't a decorated function, an app or a module")
    mark_functions(module)
    registry.add_module(module)
    for missing in bind_functions(registry):
        raise ConfigError(missing)


def find_source_files(registry: Registry) -> tuple[str, ...]:
    """Return the files of the modules that define the functions, from which a worker process can load them."""
    names = dict.fromkeys(function.module for function in registry)
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return tuple(os.path.abspath(file) for file in files if file is not None and file.endswith(".py"))
