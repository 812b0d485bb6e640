"""The functions that an engine has published, so that clients know what may be started without loading any code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from durablecli.client.remote_workers import RemoteFunction, RemoteWorkers, remote_workers
from durablecli.errors import NotFound
from durablecli.model.suggestions import did_you_mean
from durablecli.store.engine_info import EngineInfo, FunctionInfo

if TYPE_CHECKING:  # only named: most verbs load no code
    from durablecli.inputs.input_check import InputRules
    from durablecli.registry import Function, Registry


class PublishedFunctions(msgspec.Struct, frozen=True):
    """The functions that an engine had loaded when it published them.

    `warnings` are the lines on the modules and functions that it could not load. `workers` are those that were
    connected; None if the engine serves no remote code. If it does, a worker may still come for any name.
    """

    functions: tuple[FunctionInfo, ...] = ()
    at: datetime | None = None
    warnings: tuple[str, ...] = ()
    workers: RemoteWorkers | None = None

    def has_orchestrator(self, name: str) -> bool:
        """Whether there is, or may be, an orchestrator of this name, in any case."""
        return self.workers is not None or self._has(name, "orchestrator")

    def has_entity(self, name: str) -> bool:
        """Whether there is, or may be, an entity function of this name, in any case."""
        return self.workers is not None or self._has(name, "entity")

    def remote_functions(self) -> list[RemoteFunction]:
        """Return the functions that connected workers name, sorted by name."""
        return [] if self.workers is None else self.workers.functions()

    def unknown_orchestrator_error(self, name: str) -> NotFound:
        """Return the error that names the known orchestrators."""
        return unknown_orchestrator_error(name, self.names("orchestrator"))

    def unknown_entity_error(self, name: str) -> NotFound:
        """Return the error that names the known entity functions."""
        return _unknown_function_error(name, "entity", self.names("entity"))

    def unknown_operation_error(self, entity: str, operation: str) -> NotFound | None:
        """Return the error that names the known operations; None if this may be one. `delete` always is."""
        known = self.operations(entity)
        if known is None or operation.casefold() in {"delete", *map(str.casefold, known)}:
            return None
        meant = did_you_mean(operation, known)
        return NotFound(f"{entity} has no operation '{operation}'; its operations: {', '.join(known) or 'none'}{meant}")

    def operations(self, entity: str) -> tuple[str, ...] | None:
        """Return the operations of a class entity; None if they aren't known."""
        fits = (one for one in self.functions if one.kind == "entity" and one.name.casefold() == entity.casefold())
        found = next(fits, None)
        return None if found is None else found.operations

    def input_rules(self, orchestrator: str) -> InputRules | None:
        """Return what is known of the input that an orchestrator declares; None if it declares none."""
        fits = (each for each in self.functions if each.kind == "orchestrator")
        found = next((each for each in fits if each.name.casefold() == orchestrator.casefold()), None)
        if found is None or found.input_schema is msgspec.UNSET:
            return None
        from durablecli.inputs.input_check import InputRules

        return InputRules.published(found.name, msgspec.json.decode(found.input_schema))

    def names(self, kind: str) -> list[str]:
        """Return the names of all functions of one kind, also of those that connected workers name."""
        loaded = [known.name for known in self.functions if known.kind == kind]
        return loaded + [known.name for known in self.remote_functions() if known.kind == kind]

    def _has(self, name: str, kind: str) -> bool:
        return any(known.casefold() == name.casefold() for known in self.names(kind))


def unknown_orchestrator_error(name: str, known: Iterable[str]) -> NotFound:
    """Return the error of Durable Functions, with the known names."""
    return _unknown_function_error(name, "orchestrator", list(known))


def _unknown_function_error(name: str, kind: str, known: Sequence[str]) -> NotFound:
    names = ", ".join(sorted(known)) or "none"
    meant = did_you_mean(name, known)
    return NotFound(f"the function '{name}' doesn't exist, is disabled, or is not an {kind}; known: {names}{meant}")


def describe_registry(registry: Registry) -> PublishedFunctions:
    """Return what an engine with these functions would publish."""
    return PublishedFunctions(
        tuple(FunctionInfo(one.name, one.kind, operations=_operation_names(one)) for one in registry)
    )


def _operation_names(function: Function) -> tuple[str, ...] | None:
    return None if function.methods is None else tuple(method.name for method in function.methods)


def published_functions(info: EngineInfo) -> PublishedFunctions | None:
    """Return the functions that an engine reports; None if it reports none."""
    if info.functions is None:
        return None
    warnings = () if info.warnings is msgspec.UNSET else info.warnings
    return PublishedFunctions(info.functions, info.at, warnings, remote_workers(info))
