"""The resources that the calls of a process, or of a thread, share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from durablecli.resources.declarations import Resource

_log = logging.getLogger("durablecli")


class SharedScope:
    """Sets up each resource once, when it is first needed; those that need it meanwhile wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._setups: dict[Resource, _Setup] = {}
        self._opened: list[tuple[Resource, AbstractContextManager[Any]]] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tear down."""
        return not self._opened

    def is_ready(self, resource: Resource) -> bool:
        """Whether a resource is set up."""
        setup = self._setups.get(resource)
        return setup is not None and setup.ended.is_set()

    def get(self, resource: Resource, get_arguments: Callable[[], Mapping[str, Any]]) -> Any:
        """Return the value of a resource. Raises what its set-up raises, which the next call tries again."""
        with self._lock:
            setup = self._setups.get(resource)
            if is_first := setup is None:
                setup = self._setups[resource] = _Setup()
        if is_first:
            self._set_up(resource, setup, get_arguments)
        else:
            setup.ended.wait()
        if setup.error is not None:
            raise setup.error
        return setup.value

    def _set_up(self, resource: Resource, setup: _Setup, get_arguments: Callable[[], Mapping[str, Any]]) -> None:
        try:
            manager = resource.open(get_arguments())
            setup.value = manager.__enter__()
        except BaseException as error:  # noqa: BLE001 - user code may raise anything; `get` raises it
            setup.error = error
            with self._lock:
                del self._setups[resource]
        else:
            with self._lock:
                self._opened.append((resource, manager))
        setup.ended.set()

    def close(self) -> None:
        """Tear down all resources, the last first. What that raises is logged."""
        with self._lock:
            opened, self._opened = self._opened, []
            for resource, _ in opened:
                self._setups.pop(resource, None)
        for resource, manager in reversed(opened):
            try:
                manager.__exit__(None, None, None)
            except BaseException as error:  # noqa: BLE001 - user code may raise anything
                log_teardown_error(resource, error)


class _Setup:
    """A set-up that runs or has ended, with its value or its error."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None


def log_teardown_error(resource: Resource, error: BaseException) -> None:
    """Log what a tear-down has raised."""
    _log.error("the tear-down of resource '%s' failed", resource.name, exc_info=error)


class ThreadScope(SharedScope):
    """The resources of one thread, which tears them down itself."""

    def __init__(self, store: object) -> None:
        super().__init__()
        self.store = store
        self.thread = threading.current_thread()
        self.calls = 0
        """How many running calls use it."""
        self.is_outdated = False
        """Set when its code was replaced; its thread then closes it at the next opportunity."""
        self.closed = threading.Event()

    def close(self) -> None:
        super().close()
        self.closed.set()


class _OwnScopes(threading.local):
    """The scopes of the current thread, one for each app."""

    def __init__(self) -> None:
        self.scopes: list[ThreadScope] = []


_own = _OwnScopes()


def find_thread_scope(store: object) -> ThreadScope | None:
    """Return the scope of the current thread for an app, if there is one; outdated scopes are closed."""
    for scope in [each for each in _own.scopes if each.is_outdated or each.closed.is_set()]:
        _own.scopes.remove(scope)
        scope.close()
    return next((each for each in _own.scopes if each.store is store), None)


def add_thread_scope(scope: ThreadScope) -> None:
    """Note a scope of the current thread."""
    _own.scopes.append(scope)


def close_thread_scopes() -> None:
    """Tear down the resources of the current thread, which is about to end."""
    while _own.scopes:
        _own.scopes.pop().close()
