"""Messages of several clients by several ways: per target, one acknowledged before another was sent comes first."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import durablecli as df
from durablecli import testing
from durablecli.client import Client
from durablecli.engine.message_queue import Submission
from durablecli.model.payloads import encode
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from tests.support.engine_harness import limit_commit_records

Context = df.DurableOrchestrationContext
INSTANCES = ("x", "y", "b-0", "b-1")
ENTITY = df.EntityId("log", "k")
CHANNELS = ("process", "process later", "inbox", "other inbox", "activity")


class Sent(NamedTuple):
    """One event or signal: for whom, when it was posted and when it was acknowledged, in steps of the test's clock."""

    target: str
    posted: int
    acknowledged: int


class MessageOrderHarness:
    """A hub, the clients that post to it, and a record of what they did."""

    def __init__(self, *, replay_always: bool) -> None:
        functions = [collects, log, df.activity(name="act")(self.run_action), sends]
        self.hub = testing.hub(*functions, replay_always=replay_always)
        self.clients = {name: Client("hub", None, self.hub.disk) for name in ("inbox", "other inbox", "activity")}
        self.clients["process"] = self.hub.client
        self.time = 0
        self.started: set[str] = set()
        self.sent: dict[int, Sent] = {}
        self.unacknowledged: dict[int, tuple[str, int, Submission]] = {}
        self.activity_actions: dict[str, Callable[[], None]] = {}

    def tick(self) -> int:
        self.time += 1
        return self.time

    def start(self, channel: str, target: str) -> None:
        if target in self.started:
            return
        self.started.add(target)
        name = channel if channel in self.clients else "process"
        if target.startswith("b-"):
            self.started.update(("b-0", "b-1"))
            items = [MessageItem(id, "collects", encode(None)) for id in ("b-0", "b-1")]
            Inbox(self.hub.disk, "hub").post("start", items)
        else:
            self.clients[name].start_new(collects, target)

    def send(self, channel: str, target: str) -> None:
        if target in INSTANCES and target not in self.started:
            return
        tag, posted = len(self.sent) + len(self.unacknowledged), self.tick()
        if channel == "process later":
            kind = "raise-event" if target in INSTANCES else "signal"
            item = MessageItem(target, "Go" if target in INSTANCES else "append", encode(tag))
            self.unacknowledged[tag] = (target, posted, self.hub.engine.submit(kind, [item]))
        else:
            self._send(self.clients[channel], target, tag)
            self.sent[tag] = Sent(target, posted, self.tick())
        self.collect_acknowledgements()

    def _send(self, client: Client, target: str, tag: int) -> None:
        if target in INSTANCES:
            client.raise_event(target, "Go", tag)
        else:
            client.signal_entity(ENTITY, "append", tag)

    def act_and_send(self, first: str, then: str) -> None:
        """An activity posts, and its orchestration sends once it has the activity's result."""
        if not {first, then} <= self.started | {str(ENTITY)}:
            return
        tags = len(self.sent) + len(self.unacknowledged), len(self.sent) + len(self.unacknowledged) + 1
        self.sent[tags[0]] = self.sent[tags[1]] = Sent("", 0, 0)
        id = f"sends-{tags[0]}"

        def act() -> None:
            posted = self.tick()
            self._send(self.clients["activity"], first, tags[0])
            self.sent[tags[0]] = Sent(first, posted, self.tick())
            self.sent[tags[1]] = Sent(then, self.tick(), 1_000_000)

        self.activity_actions[id] = act
        self.hub.client.start_new(sends, id, [then, tags[1]])

    def run_action(self, _: Any, context: df.ActivityContext) -> None:
        self.activity_actions[context.instance_id]()

    def collect_acknowledgements(self) -> None:
        """Note which of the submitted messages are acknowledged."""
        for tag, (target, posted, message) in list(self.unacknowledged.items()):
            if message.done.is_set():
                assert message.error is None
                del self.unacknowledged[tag]
                self.sent[tag] = Sent(target, posted, self.tick())

    def step(self, times: int, run_activities: bool) -> None:
        for _ in range(times):
            if run_activities:
                self.hub.pool.run_next()
            self.hub.engine.step()
            self.collect_acknowledgements()

    def check(self) -> None:
        """Check that everything arrived once, and in order."""
        self.hub.run()
        self.collect_acknowledgements()
        assert not self.unacknowledged
        for target in self.started:
            self.hub.client.raise_event(target, "Go", "end")
        self.hub.run()
        assert not self.hub.engine.stats["undelivered"]
        for target in [*self.started, str(ENTITY)]:
            self._check(target, self._received(target))

    def _received(self, target: str) -> list[int]:
        if target == str(ENTITY):
            state: Any = self.hub.client.read_entity_state(ENTITY).entity_state
            return list(state or [])
        return list(self.hub.client.get_status(target).output)

    def _check(self, target: str, tags: list[int]) -> None:
        assert sorted(tags) == sorted(tag for tag, sent in self.sent.items() if sent.target == target)
        for first, second in itertools.combinations(map(self.sent.__getitem__, tags), 2):
            assert second.acknowledged > first.posted, (target, tags, first, second)


@df.orchestrator
def collects(context: Context) -> Any:
    got: list[Any] = []
    while (value := (yield context.wait_for_external_event("Go"))) != "end":
        got.append(value)
    return got


@df.orchestrator
def sends(context: Context) -> Any:
    yield context.call_activity("act")
    target, tag = context.get_input()
    if target == str(ENTITY):
        context.signal_entity(ENTITY, "append", tag)
    else:
        context.send_event(target, "Go", tag)


@df.entity
def log(context: df.DurableEntityContext) -> None:
    context.set_state([*context.get_state(list), context.get_input()])


targets = st.sampled_from([*INSTANCES, str(ENTITY)])
actions = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(CHANNELS[:4]), st.sampled_from(INSTANCES)),
    st.tuples(st.just("send"), st.sampled_from(CHANNELS[:4]), targets),
    st.tuples(st.just("act"), targets, targets),
    st.tuples(st.just("step"), st.integers(1, 4), st.booleans()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.booleans(), st.lists(actions, max_size=25), st.sampled_from([2, 4, 4_096]))
def test_messages_reach_each_target_in_order_of_acknowledgement(
    replay_always: bool, script: list[Any], max_records: int
) -> None:
    doors = MessageOrderHarness(replay_always=replay_always)
    with closing(doors.hub), pytest.MonkeyPatch.context() as monkeypatch:
        limit_commit_records(monkeypatch, max_records)  # when a commit is full, what was acknowledged may have to wait
        for verb, *rest in script:
            event(f"{verb} {rest[0]}" if verb in ("start", "send") else verb)
            getattr(doors, {"act": "act_and_send"}.get(verb, verb))(*rest)
        doors.check()
