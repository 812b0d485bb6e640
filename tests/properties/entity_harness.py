"""Lets a random society live on the real engine, in memory, with the power going at any change of the disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli import testing
from durablecli.engine.engine import EngineOptions
from durablecli.engine.message_queue import Submission
from durablecli.errors import DurableError
from durablecli.model.payloads import encode
from durablecli.replay.entity_state import fold_entity_log
from durablecli.store.inbox.messages import Message, MessageItem
from tests.properties.entity_model import Annals
from tests.properties.entity_programs import ASKER, ENTITIES, GO, HOLDER, MEMBERS, Body, functions
from tests.properties.power_cut_disk import Ground, PowerCut

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 300
Action = tuple[Any, ...]


class Forum:
    """One hub, its annals, and what was posted to it. `cuts`: the power goes after so many changes of the disk."""

    def __init__(self, *, replay_always: bool = False, cuts: list[int] | None = None) -> None:
        self.ground = Ground()
        self.annals = Annals()
        self.cuts = list(cuts or [])
        self.done: set[str] = set()
        options = EngineOptions(
            replay_always=replay_always, use_threads=False, turn_budget=timedelta.max, checkpoint_interval=timedelta.max
        )
        registry = testing.build_registry(*functions(self.done))
        self.hub = testing.TestEnvironment(registry, START, options, self.ground)
        self.posted: list[Message] = []
        self.open: list[Submission] = []
        self._read = 0

    def live(self, bodies: tuple[Body, ...], script: list[tuple[bool, Action]]) -> None:
        """Start all members, do what the script says, and then let everything come to its end."""
        for name, body in zip(MEMBERS, bodies, strict=True):
            self._start(name, body)
        self._next_cut()
        for rests, action in script:
            self.act(action)
            if rests:
                self.rest()
        self.ground.fuse = None
        self.finale()
        self._check_end()
        self._clear(ENTITIES[0])
        self._check_end()
        self.done |= self.annals.marks
        self.hub.close()

    def act(self, action: Action) -> None:
        verb, *rest = action
        self.done.add(verb)
        if rest and rest[0] in (HOLDER, ASKER):
            rest[0] = self._whoever(rest[0] == HOLDER)
        match verb:
            case "work":
                self._work(rest[0])
            case "order":
                name, fields = rest[1]
                self.post("signal", rest[0], name=name, input=self._tagged(fields))
            case "order later":
                at = self.hub.clock.now() + timedelta(seconds=rest[1])
                self.post("signal", rest[0], name="append", input=self._tagged({"by": 3}), start_at=at)
            case "go":
                self.post("raise-event", rest[0], name=GO)
            case "advance":
                self.hub.clock.advance(timedelta(seconds=rest[0]))
            case "back":
                self.hub.clock.advance(timedelta(seconds=-7))
            case "crash":
                self._revive()
            case "purge":
                self.post("purge", rest[0], force=True)
            case "replace":
                self._start(rest[0], rest[1])
            case "delete":
                self.post("delete", rest[0])
            case "clear":
                self.post("delete", rest[0])
                self.post("purge", rest[0])
            case _:
                self.post(verb, rest[0], reason=verb)

    def _whoever(self, holds: bool) -> str:
        found = sorted(key[0] for key, ask in self.annals.asks.items() if ask.granted == holds)
        return found[0] if found else MEMBERS[0]

    def _start(self, name: str, body: Body) -> None:
        given = {"who": f"{name}{len(self.posted)}", "round": 1, "body": body}
        self.post("start", name, name="member", input=encode(given), if_exists="replace")

    def _tagged(self, fields: dict[str, Any]) -> Any:
        return encode({**fields, "tag": f"client/{len(self.posted)}"})

    def post(self, kind: str, id: str, **fields: Any) -> None:
        message = Message(f"m-{len(self.posted)}", 0, START, kind, [MessageItem(id, **fields)])
        self.posted.append(message)
        self._hand_in(message)

    def _hand_in(self, message: Message) -> None:
        self.open.append(self.hub.engine.submit(message.kind, message.items, message.message))

    # ── cycles ─────────────────────────────────────────────────────────────────────────────────────────────────

    def rest(self) -> None:
        """Cycle until nothing moves without an outcome, a message or more time."""
        for _ in range(10_000):
            if self._step():
                return
        raise AssertionError("the engine comes to no rest")

    def _step(self) -> bool:
        """One cycle; True when all is at rest."""
        try:
            moved = self.hub.engine.step()
            if not moved:
                self.hub.engine.publisher.flush()  # which some messages wait for, by the real clock
            due = self.hub.engine.timers.next_due_time()
            if moved or not self.hub.engine.is_quiescent or (due is not None and due <= self.hub.clock.now()):
                return False
            self.hub.engine.flush()
        except (PowerCut, DurableError):
            if not self.ground.dark:
                raise
        if self.ground.dark:
            self._revive()
            return False
        self.record()
        return True

    def _work(self, index: int) -> None:
        waiting = sorted(self.hub.pool.waiting)
        if waiting:
            self.hub.pool.run_next(waiting[index % len(waiting)])

    def _next_cut(self) -> None:
        self.ground.fuse = self.cuts.pop(0) if self.cuts else None

    def _revive(self) -> None:
        """The engine dies where it stands, and others open the hub until one succeeds."""
        if self.hub.pool.waiting:
            self.done.add("outcome lost")
        if self.ground.dark:
            self.done.add("power cut")
        while True:
            self.ground.dark = False
            self.ground.fuse = None
            self.hub.close()
            self._next_cut()
            try:
                self.hub.engine, self.hub.pool = self.hub._open_engine()
                break
            except (PowerCut, DurableError):
                if not self.ground.dark:
                    raise
                self.done.add("power cut at opening")
        self.record()
        taken = {taken.message for commit in self.ground.commits.values() for taken in commit.consumed}
        lost = [posted.message for posted in self.open if posted.error is not None or not posted.done.is_set()]
        self.open = []
        for message in lost:  # nobody was told that these were taken; clients see on the disk whether they were
            if message.message not in taken:
                self._hand_in(message)

    def record(self) -> None:
        """Hold the laws against what was committed since the last time."""
        while (commit := self.ground.commits.get(self._read + 1)) is not None:
            self.annals.commit(commit)
            self._read += 1

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────

    def finale(self) -> None:
        """Give all what they wait for, until everybody has ended and nothing is due any more."""
        for _ in range(ROUNDS):
            self.rest()
            while self.hub.pool.waiting:
                self._work(0)
                self.rest()
            due = self.hub.engine.timers.next_due_time()
            if not self.annals.live and due is None:
                return
            for id in sorted(self.annals.live):
                self.post("resume", id)
                self.post("raise-event", id, name=GO)
            if due is not None:
                self.hub.clock.move_to(max(due, self.hub.clock.now()))
        raise AssertionError(f"never ended: {self.annals.live}")

    def _clear(self, entity: str) -> None:
        if entity in self.annals.figures:
            for kind in ("delete", "purge"):
                self.post(kind, entity)
                self.rest()
            assert entity not in self.annals.figures

    def _check_end(self) -> None:
        """All queues have drained, every message had its effect once, and everybody says the same of the state."""
        annals = self.annals
        assert len(set(annals.tags)) == len(annals.tags), "an operation was done twice"
        received = [message for _, message in annals.received]
        asked = [each.message for each in self.posted if each.kind in ("signal", "delete")]
        signals = {each.message for each in self.posted if each.kind == "signal"}
        assert signals <= set(received)
        for entity in ENTITIES:
            mine = [message for id, message in annals.received if id == entity]
            assert mine == [message for message in asked if message in set(mine)]
        report = self.hub.client.check()
        assert not report.findings, report.findings
        listed = {row.id: row for row in self.hub.client.list_entities().rows}
        assert listed.keys() == annals.figures.keys()
        for id, figure in annals.figures.items():
            assert (figure.waiting, figure.holder) == (0, None)
            assert self.hub.client.read_entity_state(id).entity_state == figure.state
            row = listed[id]
            assert (row.status, row.locked_by, row.queued) == ("Exists" if figure.state else "Empty", None, 0)
            self._check_ledger(id)

    def _check_ledger(self, id: str) -> None:
        """Live equals read again."""
        entity = self.hub.engine.instances.get_entity(id)
        assert entity is not None
        live, again = vars(entity.runtime_state), vars(fold_entity_log(self.hub.client.get_entity_history(id)))
        assert {**live, "size": 0} == again
