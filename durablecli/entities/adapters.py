"""How an entity is written, and so how an operation of it is called, and what counts once it has returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from durablecli.entities.class_methods import Methods
from durablecli.entities.class_state import members
from durablecli.entities.context import Act, DurableEntityContext
from durablecli.model.events import ABSENT

_DELETE = "delete"


class Form(Protocol):
    """Calls the operations of one entity function."""

    def begin(self, act: Act) -> Any:
        """Call the author's code: what it returns, or the awaitable of an asynchronous one."""
        ...

    def end(self, act: Act, value: Any) -> None:
        """Complete what an operation did that has returned this."""
        ...


class FunctionForm:
    """A function that takes the context, and looks at the name of the operation itself."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def begin(self, act: Act) -> Any:
        return self._call(DurableEntityContext(act))

    def end(self, act: Act, value: Any) -> None:
        if value is None and act.is_idle and act.name.casefold() == _DELETE:
            act.keep(ABSENT)


class ClassForm:
    """A class whose methods are the operations, and whose attributes are the state."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._members = members(methods.kind)

    def begin(self, act: Act) -> Any:
        method = self._methods.find(act.name)
        if method is not None:
            context = DurableEntityContext(act)
            act.subject = self._members.make(act.state, context)
            return method.run(act, context)
        if act.name.casefold() != _DELETE:
            raise self._methods.unknown(act.name)
        act.keep(ABSENT)
        return None

    def end(self, act: Act, value: Any) -> None:
        if not act.touched:
            act.state = self._members.save(act.subject, act.limit)
