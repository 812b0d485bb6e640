"""The orchestrations of a load in two languages: their inputs, outputs and decisions.

An output is compared as it is; that of a critical section or of a collector of events is checked with all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from durablecli.model import events as ev

KEYS = ("a", "b", "c", "d")
"""The keys of the entities."""


class Program(NamedTuple):
    """One orchestration. `decides` are its decisions for an input, as `describe_decision` describes them."""

    draw: Callable[[Random], Any]
    output: Callable[[Any], Any]
    decides: Callable[[Any], Sequence[str]]


def _value(rng: Random) -> int:
    return rng.randrange(100)


def _calls(*names: str) -> list[str]:
    return [f"TaskScheduled {name}" for name in names]


def _chain(*names: str) -> Program:
    return Program(_value, lambda x: x + len(names), lambda x: _calls(*names))


def _fan(first: str, second: str) -> Program:
    return Program(
        lambda rng: rng.randrange(4, 10),
        lambda n: sum(range(n)) + n,
        lambda n: _calls(*((first, second)[i % 2] for i in range(n))),
    )


def _parent(**children: int) -> Program:
    created = [f"SubOrchestrationInstanceCreated {name}" for name in children]
    return Program(_value, lambda x: [x + more for more in children.values()], lambda x: created)


def _nap(step: str) -> Program:
    return Program(_value, lambda x: x + 1, lambda x: ["TimerCreated", *_calls(step)])


def _eternal(step: str) -> Program:
    return Program(
        lambda rng: {"rounds": 3, "total": _value(rng)},
        lambda state: state["total"] + state["rounds"] + 1,
        lambda state: _calls(step),  # of its last execution
    )


def _section(unlocks: int) -> Program:
    """A section over two entities. The SDKs unlock each by itself."""
    decides = ["EntityLockRequested", *["EntityUnlockSent"] * unlocks]
    for entity in ("tally", "jstally"):
        decides += [f"EntityOperationCalled {entity} get", f"EntityOperationCalled {entity} add"]
    return Program(lambda rng: rng.choice(KEYS), lambda key: None, lambda key: decides)


def _signals(signaled: str, called: str) -> Program:
    decides = [f"EntityOperationSignaled {signaled} add", f"EntityOperationCalled {called} add"]
    return Program(
        lambda rng: {"key": rng.choice(KEYS), "token": rng.randrange(1 << 40)},
        lambda given: given["token"],
        lambda given: decides,
    )


def _collect(step: str) -> Program:
    return Program(lambda rng: rng.randrange(1, 5), lambda wanted: None, lambda wanted: _calls(*[step] * wanted))


PROGRAMS: dict[str, Program] = {
    "py_chain": _chain("py_step", "js_step", "local_step", "py_step"),
    "js_chain": _chain("js_step", "py_step", "local_step"),
    "local_chain": _chain("py_step", "js_step", "local_step"),
    "own_chain": _chain("own_step", "py_step", "own_step", "js_step", "local_step", "own_step"),
    "py_fan": _fan("py_step", "js_step"),
    "js_fan": _fan("py_step", "js_step"),
    "py_parent": _parent(js_chain=3, local_chain=3),
    "js_parent": _parent(py_chain=4, local_chain=3),
    "local_parent": _parent(py_chain=4, js_chain=3),
    "own_parent": _parent(own_chain=6, js_chain=3, local_chain=3),
    "py_nap": _nap("js_step"),
    "js_nap": _nap("py_step"),
    "py_eternal": _eternal("py_step"),
    "js_eternal": _eternal("js_step"),
    "own_eternal": _eternal("own_step"),
    "py_signals": _signals("ledger", "jsledger"),
    "js_signals": _signals("jsledger", "ledger"),
    "py_section": _section(unlocks=2),
    "js_section": _section(unlocks=2),
    "local_section": _section(unlocks=1),
    "py_retry": Program(_value, lambda x: "at last", lambda x: []),
    "js_retry": Program(_value, lambda x: "at last", lambda x: []),
    "py_collect": _collect("py_step"),
    "js_collect": _collect("js_step"),
}

COLLECTORS = ("py_collect", "js_collect")
SECTIONS = ("py_section", "js_section", "local_section")
RETRIES = ("py_retry", "js_retry")
SIGNALS = ("py_signals", "js_signals")
STARTED = [name for name in PROGRAMS if name not in COLLECTORS]
"""What is started without events that must follow."""


def describe_decision(event: ev.AnyEvent) -> str | None:
    """Return the kind of a decision with its target, in the words of `Program`; None for other events."""
    kind = type(event).__name__
    match event:
        case ev.TaskScheduled(name=name) | ev.SubOrchestrationInstanceCreated(name=name):
            return f"{kind} {name}"
        case ev.EntityOperationCalled(entity=entity, name=name) | ev.EntityOperationSignaled(entity=entity, name=name):
            return f"{kind} {entity.split('@')[1]} {name}"
        case ev.TimerCreated() | ev.EntityLockRequested() | ev.EntityUnlockSent() | ev.EventSent():
            return kind
        case ev.ExecutionCompleted(status=status):
            return f"{kind} {status}"
    return None


def check_decisions(name: str, given: Any, events: Sequence[ev.AnyEvent]) -> None:
    """Check that an instance that has ended has decided what its program decides, each decision once."""
    decided = Counter(found for event in events if (found := describe_decision(event)))
    wanted = Counter([*PROGRAMS[name].decides(given), "ExecutionCompleted Completed"])
    if name in RETRIES:
        attempts = decided[task := f"TaskScheduled {name.replace('retry', 'flaky')}"]
        assert 1 <= attempts <= 3, decided  # fewer than 3 if one has failed, and was killed before that was recorded
        wanted += Counter({task: attempts, "TimerCreated": attempts - 1})
    assert decided == +wanted, (name, given, decided)
