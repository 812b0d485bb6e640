"""Random programs with entities, and orchestrations that call, signal and lock them.

Every operation has a tag that names its sender and its number there; an entity keeps the tags in its state.
Orchestrations check their critical sections themselves: only their own operations may have run.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

import durablecli as df

ENTITIES = ("@book@a", "@book@b", "@log@a", "@log@b")
INSTANCES = ("ann", "bob", "cid")
CHILD_IDS = ("kid", "ann")
GO = "go"
Body = list[list[Any]]
Operation = tuple[str, dict[str, Any]]
Flow = Generator[Any, Any, Any]

MAX_ROUNDS = 3
RELAYED_OPERATION = "append"
SECTION_EXITS = (
    *("return", "return", "return", "raise", "again"),
    *("return, locked", "return, locked", "return, locked", "return, locked", "raise, locked", "again, locked"),
)
SIGNAL_DELAY = timedelta(seconds=2)


class LeaveSection(Exception):
    """Raised inside a critical section to leave it."""


# ── the entities ─────────────────────────────────────────────────────────────────────────────────────────────────────


@df.entity(name="log")
def log(context: df.DurableEntityContext) -> Any:
    order = context.get_input()
    state = context.get_state(lambda: {"n": 0, "items": [], "tags": []})
    answer = {"tag": order["tag"], "n": state["n"]}
    name = context.operation_name
    match name:
        case "delete":
            return None
        case "get":
            return {**answer, "tags": state["tags"]}
        case "destruct":
            context.destruct_on_exit()
            return answer
        case "add":
            state["n"] += order["by"]
        case "set":
            state["n"] = order["by"]
        case "append":
            state["items"].append(order["by"])
        case "tell":
            _send_relayed_signal(context, order)
        case "begin":
            context.start_new("member", order["id"], child_input(order["tag"]))
        case "fail":
            state["n"] = 99
    state["tags"].append(order["tag"])
    context.set_state(state)
    if name == "fail":
        _send_relayed_signal(context, {"tag": order["tag"], "to": ENTITIES[0], "later": False})
        context.start_new("member", "ghost", child_input(order["tag"]))
        raise ValueError(order["tag"])
    return {**answer, "n": state["n"]}


@df.entity(name="book")
class Book(df.DurableEntity):
    n: int = 0
    items: list[int] = []  # noqa: RUF012 - each book gets a list of its own
    tags: list[str] = []  # noqa: RUF012

    def _record_tag(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tags.append(order["tag"])
        return {"tag": order["tag"], "n": self.n}

    def get(self, order: dict[str, Any]) -> dict[str, Any]:
        return {"tag": order["tag"], "n": self.n, "tags": self.tags}

    def destruct(self, order: dict[str, Any]) -> dict[str, Any]:
        self.entity_context.destruct_on_exit()
        return {"tag": order["tag"], "n": self.n}

    def add(self, order: dict[str, Any]) -> dict[str, Any]:
        self.n += order["by"]
        return self._record_tag(order)

    def set(self, order: dict[str, Any]) -> dict[str, Any]:
        self.n = order["by"]
        return self._record_tag(order)

    def append(self, order: dict[str, Any]) -> dict[str, Any]:
        self.items.append(order["by"])
        return self._record_tag(order)

    def tell(self, order: dict[str, Any]) -> dict[str, Any]:
        _send_relayed_signal(self.entity_context, order)
        return self._record_tag(order)

    def begin(self, order: dict[str, Any]) -> dict[str, Any]:
        self.entity_context.start_new("member", order["id"], child_input(order["tag"]))
        return self._record_tag(order)

    def fail(self, order: dict[str, Any]) -> None:
        self.n = 99
        self.tell({"tag": order["tag"], "to": ENTITIES[0], "later": False})
        self.entity_context.start_new("member", "ghost", child_input(order["tag"]))
        raise ValueError(order["tag"])


def _send_relayed_signal(context: df.DurableEntityContext, order: dict[str, Any]) -> None:
    told = {"tag": f"{order['tag']}>", "by": 1}
    context.signal_entity(order["to"], RELAYED_OPERATION, told, at=SIGNAL_DELAY if order["later"] else None)


def child_input(tag: str) -> dict[str, Any]:
    """What a member that an entity starts is to do."""
    return {"who": f"kid of {tag}", "round": 1, "body": [["section", ENTITIES[1:3], [["peek"]], "return"]]}


# ── the orchestrator ─────────────────────────────────────────────────────────────────────────────────────────────────


class EntityProgramRun:
    """One execution of a program. `coverage` collects the features that were used."""

    def __init__(self, context: df.DurableOrchestrationContext, coverage: set[str]) -> None:
        self.context = context
        self.input = context.get_input()
        self.tag_prefix = f"{self.input['who']}.{self.input['round']}"
        self.coverage = coverage
        self.sent_count = 0
        self.left_locks_held = False
        """Whether it has left a critical section without releasing the locks: then it must end."""

    def run(self, body: Body) -> Flow:
        """Run statements one after another; False to end at once."""
        for verb, *rest in body:
            self.coverage.add(verb)
            if (yield from getattr(self, f"_{verb}")(*rest)) is False:
                return False
        return True

    def check(self, condition: bool, message: str) -> None:
        """Fail the instance if a condition doesn't hold, which the model reports."""
        if not condition:
            raise AssertionError(message)

    def _with_tag(self, order: Operation) -> tuple[str, dict[str, Any]]:
        self.sent_count += 1
        name, fields = order
        return name, {**fields, "tag": f"{self.tag_prefix}/{self.sent_count}"}

    def _signal(self, entity: str, order: Operation) -> Flow:
        self.context.signal_entity(entity, *self._with_tag(order))
        yield from ()

    def _later(self, entity: str, seconds: int) -> Flow:
        self.context.signal_entity(entity, *self._with_tag(("append", {"by": 2})), at=timedelta(seconds=seconds))
        yield from ()

    def _spree(self, entity: str, size: int) -> Flow:
        for i in range(size):
            self.context.signal_entity(entity, *self._with_tag(("append", {"by": i})))
        yield from self._call(entity, ("get", {}))

    def _call(self, entity: str, order: Operation) -> Flow:
        name, tagged = self._with_tag(order)
        try:
            result = yield self.context.call_entity(entity, name, tagged)
        except df.TaskFailedError as error:
            self.check(name == "fail" and tagged["tag"] in str(error), "somebody else's failure")
            return None
        self.check(name == "delete" or result["tag"] == tagged["tag"], "somebody else's result")
        return result

    def _pause(self, seconds: int) -> Flow:
        yield self.context.create_timer(timedelta(seconds=seconds))

    def _wait(self) -> Flow:
        yield self.context.wait_for_external_event(GO)

    def _again(self) -> Flow:
        if self.input["round"] >= MAX_ROUNDS:
            return True
        self.context.continue_as_new({**self.input, "round": self.input["round"] + 1})
        return False
        yield

    def _attempt(self, body: Body) -> Flow:
        try:
            return (yield from self.run(body))
        except LeaveSection:
            return not self.left_locks_held

    def _child(self, body: Body) -> Flow:
        self.sent_count += 1
        given = {"who": f"{self.tag_prefix}/{self.sent_count}c", "round": 1, "body": body}
        try:
            yield self.context.call_sub_orchestrator("member", given)
        except df.TaskFailedError:
            self.coverage.add("child failed")

    # ── critical sections ────────────────────────────────────────────────────────────────────────────────────────

    def _section(self, entities: list[str], body: Body, way: str) -> Flow:
        section = yield self.context.lock_entities(entities)
        end, _, kept = way.partition(", ")
        with nullcontext() if kept else section:
            yield from self._run_inside_section(entities, body)
            self.left_locks_held = bool(kept)
            if end == "raise":
                raise LeaveSection
            goes_on = end != "again" or (yield from self._again())
        return goes_on and not kept

    def _race(self, entities: list[str], seconds: int, body: Body) -> Flow:
        lock = self.context.lock_entities(entities)
        timer = self.context.create_timer(timedelta(seconds=seconds))
        winner = yield self.context.task_any([lock, timer])
        if winner is timer:
            self.coverage.add("too late")
            lock.cancel()
            return
        timer.cancel()
        with lock.result:
            yield from self._run_inside_section(entities, body)

    def _waver(self, entities: list[str]) -> Flow:
        self.context.lock_entities(entities).cancel()
        yield from ()

    def _drop(self, entities: list[str]) -> Flow:
        self.context.lock_entities(entities)
        return False
        yield

    def _run_inside_section(self, entities: list[str], body: Body) -> Flow:
        known: dict[str, list[str]] = {}
        yield from self._peek(entities, known)
        for verb, *rest in body:
            self.coverage.add(f"inside: {verb}")
            if verb == "peek":
                yield from self._peek(entities, known)
            elif verb == "do":
                yield from self._call(entities[rest[0] % len(entities)], rest[1])
            elif verb == "outside":
                if rest[0] not in entities:
                    yield from self._signal(*rest)
            else:
                yield from getattr(self, f"_{verb}")(*rest)
        yield from self._peek(entities, known)

    def _peek(self, entities: list[str], known: dict[str, list[str]]) -> Flow:
        for entity in entities:
            tags = (yield from self._call(entity, ("get", {})))["tags"]
            before = known.get(entity, tags)
            self.check(tags[: len(before)] == before, "what was done is gone")
            self.check(
                all(tag.startswith(f"{self.tag_prefix}/") for tag in tags[len(before) :]), "somebody else was here"
            )
            known[entity] = tags


def make_functions(coverage: set[str]) -> list[Any]:
    """What a hub needs to know; what members do goes into `used`."""

    @df.orchestrator
    def member(context: df.DurableOrchestrationContext) -> Flow:
        one = EntityProgramRun(context, coverage)
        yield from one.run(one.input["body"])

    return [log, Book, member]


# ── strategies ───────────────────────────────────────────────────────────────────────────────────────────────────────

_entity = st.sampled_from(ENTITIES)
_entity_lists = st.lists(_entity, min_size=1, max_size=3, unique=True).map(sorted)
_small_ints = st.integers(1, 4)


def _operations(*names: str) -> st.SearchStrategy[Operation]:
    fields: dict[str, st.SearchStrategy[dict[str, Any]]] = {
        "tell": st.fixed_dictionaries({"to": _entity, "later": st.booleans()}),
        "begin": st.fixed_dictionaries({"id": st.sampled_from(CHILD_IDS)}),
    }
    plain = st.fixed_dictionaries({"by": _small_ints})
    return st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), fields.get(name, plain)))


_operations_in_section = _operations("add", "set", "append", "tell", "fail", "begin")
_any_operation = _operations(
    "add", "add", "set", "append", "append", "tell", "fail", "begin", "destruct", "delete", "get"
)
_section_bodies = st.lists(
    st.one_of(
        st.tuples(st.just("peek")),
        st.tuples(st.just("do"), st.integers(0, 2), _operations_in_section),
        st.tuples(st.just("do"), st.integers(0, 2), _operations_in_section),
        st.tuples(st.just("outside"), _entity, _any_operation),
        st.tuples(st.just("outside"), _entity, _any_operation),
        st.tuples(st.just("pause"), _small_ints),
        st.tuples(st.just("wait")),
    ),
    max_size=3,
)
_section = st.tuples(st.just("section"), _entity_lists, _section_bodies, st.sampled_from(SECTION_EXITS))
_leaf = st.one_of(
    _section,
    _section,
    _section,
    st.tuples(st.just("signal"), _entity, _any_operation),
    st.tuples(st.just("signal"), _entity, _any_operation),
    st.tuples(st.just("call"), _entity, _any_operation),
    st.tuples(st.just("later"), _entity, _small_ints),
    st.tuples(st.just("spree"), _entity, _small_ints),
    st.tuples(st.just("race"), _entity_lists, st.integers(1, 2), _section_bodies),
    st.tuples(st.just("race"), _entity_lists, st.integers(1, 2), _section_bodies),
    st.tuples(st.just("waver"), _entity_lists),
    st.tuples(st.just("drop"), _entity_lists),
    st.tuples(st.just("pause"), _small_ints),
    st.tuples(st.just("wait")),
    st.tuples(st.just("again")),
)
_leaves = st.lists(_leaf, min_size=1, max_size=3)
bodies = st.lists(
    st.one_of(_leaf, _leaf, _leaf, st.tuples(st.just("attempt"), _leaves), st.tuples(st.just("child"), _leaves)),
    min_size=1,
    max_size=4,
)
programs = st.tuples(bodies, bodies, bodies)

HOLDER, WAITER = "whoever holds a lock", "whoever waits for one"
_targets = st.sampled_from([*INSTANCES, "kid", HOLDER, HOLDER, HOLDER, WAITER, WAITER])
_work = st.tuples(st.just("work"), st.integers(0, 5))
_control = st.sampled_from(["terminate", "suspend", "resume", "purge", "go"])
_action = st.one_of(
    _work,
    _work,
    _work,
    st.tuples(st.just("order"), _entity, _any_operation),
    st.tuples(st.just("order"), _entity, _any_operation),
    st.tuples(st.just("order later"), _entity, _small_ints),
    st.tuples(_control, _targets),
    st.tuples(st.sampled_from(["suspend", "suspend", "terminate", "purge"]), st.just(HOLDER)),
    st.tuples(st.just("replace"), _targets, bodies),
    st.tuples(st.just("advance"), _small_ints),
    st.tuples(st.sampled_from(["crash", "crash", "back"])),
    st.tuples(st.sampled_from(["delete", "clear", "clear"]), _entity),
)
actions = st.lists(st.tuples(st.booleans(), _action), min_size=8, max_size=40)
"""Each says whether all comes to rest before the next."""
