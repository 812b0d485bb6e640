"""Loads modules: the folders, files and dotted names that the command line or the settings give.

A module that can't be imported is listed with its error, and the others are still loaded. Modules of one folder import
each other by name. Each load in a process is independent of earlier ones: it reads changed code, and modules of the
same name in different folders don't conflict.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import NamedTuple, NoReturn

from durablecli.durabletask.sdk_functions import INSTALL_HINT, SDK_PACKAGE, mark_functions
from durablecli.errors import ConfigError
from durablecli.project import CONFIG_FILE, WORKFLOWS_DIR
from durablecli.registry import Registry

ROOT_PACKAGE = "__app__"
"""The package name under which an Azure function app imports from its own folder."""

_HUB_FILE = "hub.json"

# A file of such a name would shadow the real module in later imports, including those of the engine itself.
_RESERVED_NAMES = sys.stdlib_module_names | {"durablecli", "click", "filelock", "msgspec", "rich", "yaml"}


@dataclass(frozen=True)
class LoadedModule:
    """A module that was imported, or failed to be: then `error` is one line, `file:line: message`."""

    name: str
    path: str
    error: str | None = None


@dataclass(frozen=True)
class LoadedApp:
    """The functions of the loaded modules, and the outcome for each module.

    `warnings` are lines to show to the user. `folder` was the current folder of the process when loading began.
    `sources` maps the names of imported modules to their files, and `contents` these files to the bytes that were read;
    both grow with each later import.
    """

    registry: Registry
    modules: tuple[LoadedModule, ...]
    warnings: tuple[str, ...] = ()
    folder: str = "."
    sources: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)


def load(
    targets: Sequence[str],
    base: str | os.PathLike[str] = ".",
    project: str | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> LoadedApp:
    """Import the modules that `targets` name, relative to `base`. Raises ConfigError if a target doesn't exist.

    Modules can also import from the folder `project`, except names that are installed. Files that are in `contents` are
    not read.
    """
    here = os.getcwd()
    wanted = [_resolve_target(target, os.fspath(base)) for target in targets]
    finder = _install_finder([target.folder for target in wanted], project=project, contents=contents)
    registry = Registry()
    modules: dict[tuple[str, str], LoadedModule] = {}
    for target in wanted:
        for name in target.names:
            for outcome, module in _import_tree(name, target, finder):
                modules[outcome.name, outcome.path] = outcome
                if module is not None:
                    mark_functions(module)
                    registry.add_module(module)
    registry.import_errors = _list_errors(modules.values())
    warnings = tuple(_warn_unresolved(registry))
    return LoadedApp(registry, tuple(modules.values()), warnings, here, finder.found, finder.contents)


def _warn_unresolved(registry: Registry) -> Iterator[str]:
    """Warn of each function that gets plain JSON where it may expect objects."""
    for function in registry:
        if found := function.unresolved_annotations:
            yield (
                f"{_format_place(function.source_location)}: {function.name}: can't resolve the annotation of "
                f"{'; '.join(found)}. "
                "Such values arrive as plain JSON: import the name at run time, not only under TYPE_CHECKING"
            )


def _format_place(place: str) -> str:
    path, _, line = place.rpartition(":")
    return f"{_display_path(path)}:{line}" if line.isdigit() else place


Registrar = Callable[[Registry, ModuleType], None]
"""Adds the functions of a module to the registry."""


def load_modules(
    folder: str, registrars: Iterable[tuple[str, Registrar]], contents: Mapping[str, bytes] | None = None
) -> LoadedApp:
    """Import modules of one folder by name, and register their functions.

    The folder is also the package `__app__`, so that the code of a function can import from neighboring folders.
    """
    here = os.getcwd()
    folder = os.path.abspath(folder)
    finder = _install_finder([folder], folder, contents=contents)
    registry = Registry()
    modules = []
    for name, register in registrars:
        error = None
        path = _find_source(folder, name.removeprefix(f"{ROOT_PACKAGE}.")) or ""
        try:
            register(registry, importlib.import_module(name))
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # noqa: BLE001 - SystemExit too: an app must not end the engine
            error = _format_error(failure, finder.found, path)
        modules.append(LoadedModule(name.removeprefix(f"{ROOT_PACKAGE}."), _display_path(path), error))
    registry.import_errors = _list_errors(modules)
    return LoadedApp(registry, tuple(modules), folder=here, sources=finder.found, contents=finder.contents)


def _list_errors(modules: Iterable[LoadedModule]) -> tuple[str, ...]:
    return tuple(module.error for module in modules if module.error)


# Resolving targets.


@dataclass(frozen=True)
class _Target:
    """The `names` to import from `folder`; `dotted` is set if the target may be a module elsewhere."""

    folder: str
    names: tuple[str, ...]
    dotted: str | None = None


def _resolve_target(target: str, base: str) -> _Target:
    path = os.path.abspath(os.path.join(base, target))
    if os.path.isdir(path):
        if not _is_package(path) and _is_project(path):
            path = os.path.join(path, WORKFLOWS_DIR)
        if not _is_package(path):
            return _Target(path, tuple(_list_names([path])))
        return _Target(*_find_package_root(path))
    if target.endswith(".py"):
        if not os.path.isfile(path):
            raise ConfigError(f"app: {target}: no such file")
        return _Target(*_find_package_root(path.removesuffix(".py")))
    if not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(f"app: {target}: no such folder")
    return _Target(os.path.abspath(base), (target,), target)


def _is_project(folder: str) -> bool:
    """Return whether a folder keeps its functions in `workflows/`: it has that folder, and no modules of its own or a
    durable.yaml."""
    if not os.path.isdir(os.path.join(folder, WORKFLOWS_DIR)):
        return False
    return os.path.isfile(os.path.join(folder, CONFIG_FILE)) or not _list_names([folder])


def _is_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _find_package_root(path: str) -> tuple[str, tuple[str]]:
    """The folder to import from and the dotted name of `path`, so that relative imports work in it."""
    folder, name = os.path.split(path)
    while _is_package(folder):
        folder, parent = os.path.split(folder)
        name = f"{parent}.{name}"
    return folder, (name,)


def _list_names(folders: Iterable[str]) -> list[str]:
    found = (module.name for module in pkgutil.iter_modules(folders))
    return sorted(name for name in found if not name.startswith(("_", "test_")))


# Importing.


def _import_tree(name: str, target: _Target, finder: _AppFinder) -> Iterator[tuple[LoadedModule, ModuleType | None]]:
    """Import a module and, if it is a package, all modules in it."""
    outcome, module = _import_one(name, target, finder)
    yield outcome, module
    for child in _list_names(getattr(module, "__path__", ())):
        yield from _import_tree(f"{name}.{child}", target, finder)


def _import_one(name: str, target: _Target, finder: _AppFinder) -> tuple[LoadedModule, ModuleType | None]:
    path = _find_source(target.folder, name) or ""
    conflict = _find_name_conflict(name, path) if path else None
    if conflict:
        return LoadedModule(name, _display_path(path), f"{_display_path(path)}: {conflict}; rename the file"), None
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a script among the modules must not end the engine
        if target.dotted and isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, target.dotted):
            _raise_not_found(target.dotted)
        return LoadedModule(name, _display_path(path), _format_error(error, finder.found, path)), None
    return LoadedModule(name, _display_path(module.__file__ or path)), module


def _find_name_conflict(name: str, path: str) -> str | None:
    top = name.partition(".")[0]
    if top in _RESERVED_NAMES:
        return f"the name {top} is reserved for Python or durablecli"
    loaded = sys.modules.get(name)
    where = getattr(loaded, "__file__", None)
    if loaded is None or where == path:
        return None
    return f"the name {name} is taken by {_display_path(where) if where else 'another module'}"


def _is_part_of(missing: str | None, dotted: str) -> bool:
    return missing is not None and f"{dotted}.".startswith(f"{missing}.")


def _raise_not_found(target: str) -> NoReturn:
    raise ConfigError(f"app: {target}: no such folder, file or module") from None


def _format_error(error: BaseException, found: Mapping[str, str], path: str) -> str:
    """Describe an error in one line, with the place in the author's code that raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_display_path(error.filename)}:{error.lineno}: {type(error).__name__}: {error.msg}"
    files = set(found.values())
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    where = f"{_display_path(places[-1].filename)}:{places[-1].lineno}" if places else _display_path(path)
    what = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and _is_part_of(SDK_PACKAGE, error.name or ""):
        what = f"{what}: it comes with {INSTALL_HINT}"
    return f"{where}: {type(error).__name__}{': ' + what if what else ''}"


def find_syntax_error(path: str, loaded: bytes) -> str | None:
    """Return the syntax error of a file in one line; None if it has none, is missing, or is as it was when loaded."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data != loaded:
            compile(data, path, "exec", dont_inherit=True)
    except OSError:
        return None
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        return _format_error(error, {}, path)
    return None


def _display_path(path: str) -> str:
    try:
        short = os.path.relpath(path) if path else path
    except FileNotFoundError:  # a module has removed the current folder
        return path
    return path if short.startswith(os.pardir) else short


# Finding.


class _UncachedLoader(importlib.machinery.SourceFileLoader):
    """Compiles each time. The check of a cached .pyc goes by seconds and size, and would miss a quick edit.

    The bytes of files are in `contents`, where they are also added.
    """

    def __init__(self, name: str, path: str, contents: dict[str, bytes]) -> None:
        super().__init__(name, path)
        self._contents = contents

    def path_stats(self, path: str) -> NoReturn:
        raise OSError("no cache")

    def get_data(self, path: str) -> bytes:
        data = self._contents.get(path)
        if data is None:
            data = self._contents[path] = super().get_data(path)
        return data


class _AppFinder:
    """Finds the modules in the folders of the app, before installed ones, and records which it found."""

    def __init__(
        self, folders: tuple[str, ...], root: str | None, project: str | None, contents: Mapping[str, bytes]
    ) -> None:
        self.folders = folders
        self.contents = dict(contents)
        self.root = root
        self.project = () if project is None or project in folders else (project,)
        self.found: dict[str, str] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if name == ROOT_PACKAGE and self.root:
            return self._make_namespace_spec(name, [self.root])
        if parent not in self.found if parent else name in _RESERVED_NAMES:
            return None
        for folder in path or () if parent else self.folders:
            file = _find_source(folder, name.rpartition(".")[2])
            if file:
                return self._make_spec(name, file)
        if parent:
            return self._find_plain_folder(name, path or ())
        return self._find_plain_folder(name, self.folders) or self._find_in_project(name)

    def _make_spec(self, name: str, file: str) -> importlib.machinery.ModuleSpec | None:
        self.found[name] = file
        inside = [os.path.dirname(file)] if os.path.basename(file) == "__init__.py" else None
        loader = _UncachedLoader(name, file, self.contents)
        return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)

    def _find_in_project(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """Find a module or package in the project, unless an installed one has its name."""
        for folder in self.project:
            file = _find_source(folder, name)
            if file is None:
                continue
            other = importlib.machinery.PathFinder.find_spec(name)
            is_installed = other is not None and other.origin is not None and os.path.abspath(other.origin) != file
            return None if is_installed else self._make_spec(name, file)
        return self._find_plain_folder(name, self.project)

    def _find_plain_folder(self, name: str, places: Iterable[str]) -> importlib.machinery.ModuleSpec | None:
        """Find a folder without an `__init__.py`, unless an installed module has its name."""
        inside = [os.path.join(place, name.rpartition(".")[2]) for place in places]
        inside = [folder for folder in inside if os.path.isdir(folder)]
        if not inside:
            return None
        other = None if "." in name else importlib.machinery.PathFinder.find_spec(name)
        if other is not None and other.origin is not None:
            return None
        if any(map(_is_hub, inside)):  # an error, because the import would go on to find it through sys.path
            raise ModuleNotFoundError(f"No module named {name!r}: that folder is a state directory", name=name)
        return self._make_namespace_spec(name, list(dict.fromkeys([*inside, *_search_locations(other)])))

    def _make_namespace_spec(self, name: str, folders: list[str]) -> importlib.machinery.ModuleSpec:
        self.found[name] = folders[0]
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = folders
        return spec


def _is_hub(folder: str) -> bool:
    """Whether a folder is a state directory; no code is imported from one."""
    return os.path.isfile(os.path.join(folder, _HUB_FILE))


def _search_locations(spec: importlib.machinery.ModuleSpec | None) -> Sequence[str]:
    return (spec.submodule_search_locations if spec is not None else None) or ()


def _find_source(folder: str, name: str) -> str | None:
    path = os.path.join(folder, *name.split("."))
    return next((file for file in (os.path.join(path, "__init__.py"), f"{path}.py") if os.path.isfile(file)), None)


def _install_finder(
    folders: Iterable[str],
    root: str | None = None,
    project: str | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> _AppFinder:
    detach()
    finder = _AppFinder(tuple(dict.fromkeys(folders)), root, project, contents or {})
    _add_finder(finder)
    return finder


def _add_finder(finder: _AppFinder) -> None:
    place = next((k for k, found in enumerate(sys.meta_path) if found is importlib.machinery.PathFinder), 0)
    sys.meta_path.insert(place, finder)
    # For processes that the author's code spawns: they inherit sys.path, but not the finder.
    sys.path.extend((*finder.folders, *finder.project))
    importlib.invalidate_caches()


class DetachedModules(NamedTuple):
    """The modules of an app that can't be imported at present, although their code may run."""

    finders: Sequence[_AppFinder]
    modules: Mapping[str, ModuleType]


def detach() -> DetachedModules:
    """Forget all loaded modules. Returns them, for `attach`."""
    finders = [found for found in sys.meta_path if isinstance(found, _AppFinder)]
    modules = {}
    for finder in finders:
        sys.meta_path.remove(finder)
        for folder in (*finder.folders, *finder.project):
            if folder in sys.path:
                del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
        for name, file in finder.found.items():
            if name in sys.modules and _get_origin(sys.modules[name]) == file:
                modules[name] = sys.modules.pop(name)
    return DetachedModules(finders, modules)


def attach(detached: DetachedModules) -> None:
    """Have these modules imported, in place of those that are loaded."""
    detach()
    sys.modules.update(detached.modules)
    for finder in detached.finders:
        _add_finder(finder)


def _get_origin(module: ModuleType) -> str | None:
    """The file of a module, or the folder of a package without one."""
    file: str | None = getattr(module, "__file__", None)
    return file or next(iter(getattr(module, "__path__", ())), None)
