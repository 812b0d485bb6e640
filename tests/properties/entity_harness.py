"""Runs a random entity program on the real engine, in memory, with a power cut at any change of the disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.message_queue import Submission
from durablecli.errors import DurableError
from durablecli.model.payloads import encode
from durablecli.replay.entity_state import fold_entity_log
from durablecli.store.inbox.messages import Message, MessageItem
from tests.properties.entity_model import EntityModel
from tests.properties.entity_programs import ENTITIES, GO, HOLDER, INSTANCES, WAITER, Body, make_functions
from tests.properties.power_cut_disk import PowerCutDisk
from tests.support.faulty_disk import PowerCut

START = datetime(2026, 1, 1, tzinfo=UTC)
MAX_ROUNDS = 300
SPILL_OVER = 200
"""Most records with a payload are longer."""
Action = tuple[Any, ...]


class EntityHarness:
    """One hub and its model. `power_cuts`: the numbers of disk changes after which the power fails.

    Every second program spills its longer records, chosen by the numbers.
    """

    def __init__(self, *, replay_always: bool = False, power_cuts: list[int] | None = None) -> None:
        self.disk = PowerCutDisk()
        self.model = EntityModel()
        self.power_cuts = list(power_cuts or [])
        self.coverage: set[str] = set()
        options = EngineOptions(
            replay_always=replay_always,
            use_threads=False,
            turn_budget=timedelta.max,
            checkpoint_interval=timedelta.max,
            spill_over=SPILL_OVER * (sum(power_cuts or []) % 2),
        )
        registry = testing.build_registry(*make_functions(self.coverage))
        self.hub = testing.TestEnvironment(registry, START, options, self.disk)
        self.posted: list[Message] = []
        self.unacknowledged: list[Submission] = []
        self._checked_commits = 0

    def run(self, bodies: tuple[Body, ...], script: list[tuple[bool, Action]]) -> None:
        """Start all instances, run the script, and then run everything to its end."""
        for name, body in zip(INSTANCES, bodies, strict=True):
            self._start_instance(name, body)
        self._arm_next_power_cut()
        for rests, action in script:
            self.perform(action)
            if rests:
                self.run_until_quiescent()
        self.disk.operations_left = None
        self.run_to_end()
        self._check_final_state()
        self._delete_and_purge(ENTITIES[0])
        self._check_final_state()
        self.coverage |= self.model.coverage
        self.hub.close()

    def perform(self, action: Action) -> None:
        verb, *rest = action
        self.coverage.add(verb)
        if rest and rest[0] in (HOLDER, WAITER):
            rest[0] = self._pick_instance(rest[0] == HOLDER)
        match verb:
            case "work":
                self._run_waiting(rest[0])
            case "order":
                name, fields = rest[1]
                self.post("signal", rest[0], name=name, input=self._encode_with_tag(fields))
            case "order later":
                at = self.hub.clock.now() + timedelta(seconds=rest[1])
                self.post("signal", rest[0], name="append", input=self._encode_with_tag({"by": 3}), start_at=at)
            case "go":
                self.post("raise-event", rest[0], name=GO)
            case "advance":
                self.hub.clock.advance(timedelta(seconds=rest[0]))
            case "back":
                self.hub.clock.advance(timedelta(seconds=-7))
            case "crash":
                self._reopen()
            case "purge":
                self.post("purge", rest[0], force=True)
            case "replace":
                self._start_instance(rest[0], rest[1])
            case "delete":
                self.post("delete", rest[0])
            case "clear":
                self.post("delete", rest[0])
                self.post("purge", rest[0])
            case _:
                self.post(verb, rest[0], reason=verb)

    def _pick_instance(self, holds: bool) -> str:
        found = sorted(key[0] for key, ask in self.model.lock_requests.items() if ask.granted == holds)
        return found[0] if found else INSTANCES[0]

    def _start_instance(self, name: str, body: Body) -> None:
        given = {"who": f"{name}{len(self.posted)}", "round": 1, "body": body}
        self.post("start", name, name="member", input=encode(given), if_exists="replace")

    def _encode_with_tag(self, fields: dict[str, Any]) -> Any:
        return encode({**fields, "tag": f"client/{len(self.posted)}"})

    def post(self, kind: str, id: str, **fields: Any) -> None:
        message = Message(f"m-{len(self.posted)}", 0, START, kind, [MessageItem(id, **fields)])
        self.posted.append(message)
        self._submit(message)

    def _submit(self, message: Message) -> None:
        self.unacknowledged.append(self.hub.engine.submit(message.kind, message.items, message.message))

    # ── cycles ───────────────────────────────────────────────────────────────────────────────────────────────────

    def run_until_quiescent(self) -> None:
        """Cycle until only an outcome, a message or time can change anything."""
        for _ in range(10_000):
            if self._step():
                return
        raise AssertionError("the engine comes to no rest")

    def _step(self) -> bool:
        """Run one cycle; True if the engine is quiescent."""
        try:
            moved = self.hub.engine.step()
            if not moved:
                self.hub.engine.publisher.flush()  # which some messages wait for, by the real clock
            due = self.hub.engine.timers.next_due_time()
            if moved or not self.hub.engine.is_quiescent or (due is not None and due <= self.hub.clock.now()):
                return False
            self.hub.engine.flush()
        except (PowerCut, DurableError):
            if not self.disk.powered_off:
                raise
        if self.disk.powered_off:
            self._reopen()
            return False
        self.check_new_commits()
        return True

    def _run_waiting(self, index: int) -> None:
        waiting = sorted(self.hub.pool.waiting)
        if waiting:
            self.hub.pool.run_next(waiting[index % len(waiting)])

    def _arm_next_power_cut(self) -> None:
        self.disk.operations_left = self.power_cuts.pop(0) if self.power_cuts else None

    def _reopen(self) -> None:
        """Kill the engine, and open the hub again until that succeeds."""
        if self.hub.pool.waiting:
            self.coverage.add("outcome lost")
        if self.disk.powered_off:
            self.coverage.add("power cut")
        while True:
            self.disk.powered_off = False
            self.disk.operations_left = None
            self.hub.close()
            self._arm_next_power_cut()
            try:
                self.hub.open()
                break
            except (PowerCut, DurableError):
                if not self.disk.powered_off:
                    raise
                self.coverage.add("power cut at opening")
        self.check_new_commits()
        taken = {taken.message for commit in self.disk.commits.values() for taken in commit.consumed}
        lost = [
            posted.message for posted in self.unacknowledged if posted.error is not None or not posted.done.is_set()
        ]
        self.unacknowledged = []
        for message in lost:  # nobody was told that these were taken; clients see on the disk whether they were
            if message.message not in taken:
                self._submit(message)

    def check_new_commits(self) -> None:
        """Check the properties for the commits since the last check."""
        while (commit := self.disk.commits.get(self._checked_commits + 1)) is not None:
            self.model.apply_commit(commit)
            self._checked_commits += 1

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def run_to_end(self) -> None:
        """Complete all waits until every instance has ended and nothing is due."""
        for _ in range(MAX_ROUNDS):
            self.run_until_quiescent()
            while self.hub.pool.waiting:
                self._run_waiting(0)
                self.run_until_quiescent()
            due = self.hub.engine.timers.next_due_time()
            if not self.model.live_executions and due is None:
                return
            for id in sorted(self.model.live_executions):
                self.post("resume", id)
                self.post("raise-event", id, name=GO)
            if due is not None:
                self.hub.clock.move_to(max(due, self.hub.clock.now()))
        raise AssertionError(f"never ended: {self.model.live_executions}")

    def _delete_and_purge(self, entity: str) -> None:
        if entity in self.model.entities:
            for kind in ("delete", "purge"):
                self.post(kind, entity)
                self.run_until_quiescent()
            assert entity not in self.model.entities

    def _check_final_state(self) -> None:
        """Check that queues are empty, every message had its effect once, and all views of the state agree."""
        model = self.model
        assert len(set(model.applied_tags)) == len(model.applied_tags), "an operation was done twice"
        received = [message for _, message in model.received_messages]
        asked = [each.message for each in self.posted if each.kind in ("signal", "delete")]
        signals = {each.message for each in self.posted if each.kind == "signal"}
        assert signals <= set(received)
        for entity in ENTITIES:
            mine = [message for id, message in model.received_messages if id == entity]
            assert mine == [message for message in asked if message in set(mine)]
        report = self.hub.client.check()
        assert not report.findings, report.findings
        listed = {row.id: row for row in self.hub.client.list_entities().rows}
        assert listed.keys() == model.entities.keys()
        for id, figure in model.entities.items():
            assert (figure.pending_count, figure.holder) == (0, None)
            assert self.hub.client.read_entity_state(id).entity_state == figure.state
            row = listed[id]
            assert (row.status, row.locked_by, row.queued) == ("Exists" if figure.state else "Empty", None, 0)
            self._compare_with_replay(id)

    def _compare_with_replay(self, id: str) -> None:
        """Check that the live states equal those read from disk."""
        entity = self.hub.engine.instances.get_entity(id)
        assert entity is not None
        live, again = vars(entity.runtime_state), vars(fold_entity_log(self.hub.client.get_entity_history(id)))
        assert {**live, "size": 0} == again
