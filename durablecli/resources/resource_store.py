"""The resources of one loaded app: gives their values to calls, and tears them down."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from durablecli.resources.declarations import (
    Resource,
    check_replacement,
    find_resource,
    get_resource,
    make_constant,
)
from durablecli.resources.shared_scopes import SharedScope, ThreadScope, add_thread_scope, find_thread_scope

if TYPE_CHECKING:  # slow to import, and needed for async activities only
    import asyncio

    from durablecli.resources.loop_scope import LoopScope

T = TypeVar("T")
Values = dict[str, Any]
"""The values of resources, by parameter."""

CLOSE_TIMEOUT = 10.0
"""Seconds that all tear-downs together may take."""
_THREAD_TIMEOUT = 1.0
"""Seconds to wait for idle threads to end."""
_log = logging.getLogger("durablecli")


class ResourceStore:
    """The resources that the activities of one app have set up. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = SharedScope()
        self._threads: list[ThreadScope] = []
        self._loops: dict[asyncio.AbstractEventLoop, LoopScope] = {}
        self._replacements: dict[Resource, Resource] = {}
        self._calls = 0
        self._is_retired = False

    def call(self, dependencies: Mapping[str, Resource], function: Callable[[Values], T]) -> T:
        """Call a function with the values of resources; those of the call are torn down after it.

        They see the exception that it raises, and can't suppress it. What their tear-down raises is raised.
        """
        error: BaseException | None = None
        scope = _CallScope(self)
        self._begin_call()
        try:
            with scope.stack:
                try:
                    return function(scope.get_all(dependencies))
                except BaseException as raised:
                    error = raised
                    raise
            assert error is not None
            raise error
        finally:
            scope.end()
            self._end_call()
            del error  # its traceback refers to this frame

    async def call_async(self, dependencies: Mapping[str, Resource], function: Callable[[Values], Awaitable[T]]) -> T:
        """Do the same with an asynchronous function."""
        error: BaseException | None = None
        scope = _AsyncCallScope(self)
        self._begin_call()
        try:
            async with scope.async_stack:
                try:
                    return await function(await scope.get_all_async(dependencies))
                except BaseException as raised:
                    error = raised
                    raise
            assert error is not None
            raise error
        finally:
            scope.end()
            self._end_call()
            del error

    def override(self, resource: Callable[..., Any], replacement: object) -> None:
        """Use another resource, or a value, in place of a resource. What is set up already is torn down.

        Raises ValueError if `resource` isn't one, or if the replacement can't take its place.
        """
        original = get_resource(resource)
        chosen = find_resource(replacement) or make_constant(original.name, replacement)
        check_replacement(original, chosen)
        self.close()
        self._replacements[original] = chosen

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Tear down all resources; what is needed afterwards is set up again. Returns after `timeout` seconds at the
        latest, and logs which tear-down then still runs.

        The resources of a thread are torn down by that thread, when it ends; this waits for threads that run no call.
        """
        until = monotonic() + timeout
        self._close_threads(until)
        self._close_loops(until)
        if not self._process.is_empty:
            _close_in_thread(self._process, until)

    def retire(self) -> None:
        """Tear down all resources in the background when no call uses them, because the app was loaded again."""
        with self._lock:
            self._is_retired = True
            is_unused = not self._calls
        if is_unused:
            self._close_in_background()

    def _begin_call(self) -> None:
        with self._lock:
            self._calls += 1

    def _end_call(self) -> None:
        with self._lock:
            self._calls -= 1
            is_over = self._is_retired and not self._calls
        if is_over:
            self._close_in_background()

    def _close_in_background(self) -> None:
        if not self._process.is_empty or self._threads or self._loops:
            with suppress(RuntimeError):  # without a thread for it, it isn't torn down
                threading.Thread(target=self.close, name="durable-resources", daemon=True).start()

    def _close_threads(self, until: float) -> None:
        with self._lock:
            scopes, self._threads = self._threads, []
        until = min(until, monotonic() + _THREAD_TIMEOUT)
        for scope in scopes:
            if scope.thread is threading.current_thread() or not scope.thread.is_alive():
                scope.close()
            elif not scope.calls:
                scope.closed.wait(max(0.0, until - monotonic()))
            scope.is_outdated = True

    def _close_loops(self, until: float) -> None:
        with self._lock:
            loops, self._loops = self._loops, {}
        for loop, scope in loops.items():
            if scope.is_empty or not loop.is_running():
                continue
            import asyncio

            closing = asyncio.run_coroutine_threadsafe(scope.close(), loop)
            try:
                closing.result(max(0.0, until - monotonic()))
            except TimeoutError:
                _log.warning("the tear-down of an async resource takes too long; not waiting for it")

    def get_process_scope(self) -> SharedScope:
        """Return the resources of the process."""
        return self._process

    def get_thread_scope(self) -> ThreadScope:
        """Return the resources of the current thread."""
        scope = find_thread_scope(self)
        if scope is None:
            scope = ThreadScope(self)
            add_thread_scope(scope)
            with self._lock:
                self._threads = [each for each in self._threads if not each.closed.is_set()]
                self._threads.append(scope)
        return scope

    def get_loop_scope(self) -> LoopScope:
        """Return the async resources of the current event loop."""
        import asyncio

        from durablecli.resources.loop_scope import LoopScope

        loop = asyncio.get_running_loop()
        scope = self._loops.get(loop)
        if scope is None:
            scope = LoopScope(loop)
            with self._lock:
                self._loops = {each: known for each, known in self._loops.items() if not each.is_closed()}
                self._loops[loop] = scope
        return scope

    def resolve(self, resource: Resource) -> Resource:
        """Return the resource, or what replaces it."""
        return self._replacements.get(resource, resource) if self._replacements else resource


class _CallScope:
    """The resources of one call."""

    def __init__(self, store: ResourceStore) -> None:
        self.stack = ExitStack()
        self._store = store
        self._values: dict[Resource, Any] = {}
        self._thread_scope: ThreadScope | None = None

    def get_all(self, resources: Mapping[str, Resource]) -> Values:
        return {name: self._get(self._store.resolve(each)) for name, each in resources.items()}

    def _get(self, resource: Resource) -> Any:
        if resource.scope == "process":
            return self._store.get_process_scope().get(resource, lambda: self.get_all(resource.dependencies))
        if resource.scope == "thread":
            return self._enter_thread().get(resource, lambda: self.get_all(resource.dependencies))
        if resource not in self._values:
            arguments = self.get_all(resource.dependencies)
            self._values[resource] = self.stack.enter_context(resource.open(arguments))
        return self._values[resource]

    def _enter_thread(self) -> ThreadScope:
        if self._thread_scope is None:
            self._thread_scope = self._store.get_thread_scope()
            self._thread_scope.calls += 1
        return self._thread_scope

    def end(self) -> None:
        if self._thread_scope is not None:
            self._thread_scope.calls -= 1


class _AsyncCallScope(_CallScope):
    """The resources of one call of an async activity."""

    def __init__(self, store: ResourceStore) -> None:
        super().__init__(store)
        self.async_stack = AsyncExitStack()

    async def get_all_async(self, resources: Mapping[str, Resource]) -> Values:
        return {name: await self._get_async(self._store.resolve(each)) for name, each in resources.items()}

    async def _get_async(self, resource: Resource) -> Any:
        if resource.scope == "thread":
            return self._get(resource)
        if resource.scope == "process" and not resource.is_async:
            if self._store.get_process_scope().is_ready(resource):
                return self._get(resource)
            import asyncio

            return await asyncio.to_thread(self._get, resource)  # may take long, or wait for another thread
        if resource.scope == "process":
            scope = self._store.get_loop_scope()
            return await scope.get(resource, lambda: self.get_all_async(resource.dependencies))
        if resource not in self._values:
            arguments = await self.get_all_async(resource.dependencies)
            self._values[resource] = (
                await self.async_stack.enter_async_context(resource.open_async(arguments))
                if resource.is_async
                else self.async_stack.enter_context(resource.open(arguments))
            )
        return self._values[resource]


def _close_in_thread(scope: SharedScope, until: float) -> None:
    """Close a scope, but wait for it no longer than `until`: a tear-down must not keep the engine from ending."""
    thread = threading.Thread(target=scope.close, name="durable-resources", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is left
        scope.close()
        return
    thread.join(max(0.0, until - monotonic()))
    if thread.is_alive():
        _log.warning("the tear-down of a resource takes too long; not waiting for it")
