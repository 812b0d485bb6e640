"""Runs random programs on the real engine, in memory, and hands out the histories that come of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli import testing
from durablecli.client.status_reader import parse_records
from durablecli.engine.engine import EngineOptions
from durablecli.engine.message_queue import Submission
from durablecli.model import events as ev
from durablecli.model.payloads import encode
from durablecli.replay.pending import next_due
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.store.history import writer
from durablecli.store.inbox.messages import Message, MessageItem
from tests.properties.orchestration_programs import NAMES, TOP, Body, World

START = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 200
Action = tuple[Any, ...]


class Theatre:
    """One hub and one world. `restarts`: the engine is killed and reopened after every action, when all is at rest.

    `kills`: after so many cycles each, wherever it stands then.
    """

    def __init__(self, *, replay_always: bool = False, restarts: bool = False, kills: list[int] | None = None) -> None:
        self.world = World()
        self.restarts = restarts
        self.kills = list(kills or [])
        self.killed = 0
        options = EngineOptions(replay_always=replay_always, use_threads=False, turn_budget=timedelta.max)
        self.hub = testing.TestEnvironment(testing.build_registry(*self.world.functions()), START, options)
        self.done: set[str] = set()
        self.rewound = False
        self.torn = 0
        self.waiting: list[Submission] = []
        self._messages = 0

    def play(self, programs: tuple[Body, Body], actions: list[Action]) -> dict[str, list[ev.Record]]:
        """Start both programs, do what the script says, then let everything come to its end."""
        for name, body in zip(TOP, programs, strict=True):
            self.post("start", name, name="play", input=encode({"body": body, "round": 1}))
        self.rest()
        for action in actions:
            self.act(action)
            self.rest()
            if self.restarts:
                self.hub.restart()
                self.rest()
        self.finale()
        self.done |= self.world.used
        found = {id: self.records(id) for id in self.ids()}
        self.hub.close()
        return found

    def act(self, action: Action) -> None:
        verb, *rest = action
        match verb:
            case "work":
                keys = sorted(filter(self._is_owed, self.hub.pool.waiting))
                if keys:
                    self.hub.pool.run_next(keys[rest[0] % len(keys)])
            case "event":
                self.post("raise-event", rest[0], name=rest[1], input=encode(self._messages))
            case "advance":
                self.hub.clock.advance(timedelta(seconds=rest[0]))
            case "back":
                self.hub.clock.advance(timedelta(seconds=-7))
            case "mend":
                self.world.mended = True
            case _:
                self.post(verb, rest[0], reason=verb)

    def post(self, kind: str, instance: str, **fields: Any) -> None:
        self._messages += 1
        self.rewound |= kind == "rewind"
        self._hand_in(Message(f"m-{self._messages}", 0, START, kind, [MessageItem(instance, **fields)]))

    def rest(self) -> None:
        """Cycle until nothing moves without an outcome, a message or more time."""
        for _ in range(100_000):
            if self.kills:
                self._wait_for_death()
            moved = self.hub.engine.step()
            due = self.hub.engine.timers.next_due_time()
            if not moved and self.hub.engine.is_quiescent and (due is None or due > self.hub.clock.now()):
                self.hub.engine.flush()
                return
        raise AssertionError("the engine comes to no rest")

    def _wait_for_death(self) -> None:
        self.kills[0] -= 1
        if self.kills[0] <= 0:
            self.kills.pop(0)
            self.killed += 1
            lost = [posted for posted in self.waiting if not posted.done.is_set()]
            self.hub.restart()
            self.waiting = []
            for posted in lost:  # nobody was told that these were taken, so they are sent again
                self._hand_in(posted.message)
            self.torn += bool(self.hub.engine.hub.incomplete_turns)

    def _hand_in(self, message: Message) -> None:
        self.waiting.append(self.hub.engine.submit(message.kind, message.items, message.message))

    def _is_owed(self, key: tuple[str, str, int]) -> bool:
        """Whether anybody still waits for this call; a restarted engine has forgotten the others."""
        instance = self.hub.engine.instances.get(key[0])
        return (
            instance is not None
            and instance.runtime_state.execution == key[1]
            and key[2] in instance.runtime_state.open_decisions
        )

    def work_all(self) -> None:
        self.rest()
        while self.hub.pool.waiting:
            self.hub.pool.run_next(min(self.hub.pool.waiting))
            self.rest()

    def finale(self) -> None:
        """Mend the world and give everybody what they wait for, until all have ended; rewind what failed, once."""
        self.world.mended = True
        rewound = False
        for _ in range(ROUNDS):
            self.work_all()
            ledgers = {id: self.ledger(id) for id in self.ids()}
            live = [id for id, ledger in ledgers.items() if not ledger.ended]
            if not live:
                failed = [id for id in TOP if id in ledgers and ledgers[id].status == "Failed"]
                if rewound or not failed:
                    return
                rewound = True
                for id in failed:
                    self.post("rewind", id, reason="mended")
            self._help(live, ledgers)
        stuck = {id: testing_view(self.ledger(id)) for id in self.ids() if not self.ledger(id).ended}
        raise AssertionError(f"never ended: {stuck}")

    def _help(self, live: list[str], ledgers: dict[str, RuntimeState]) -> None:
        for id in live:
            if ledgers[id].suspended is not None:
                self.post("resume", id)
            for name in NAMES:
                if ledgers[id].event_waits:
                    self.post("raise-event", id, name=name, input=encode("at last"))
        self.rest()  # what comes at the same time may be taken in any order
        due = [due for id in live if (due := next_due(ledgers[id])) is not None]
        if due:
            self.hub.clock.move_to(max(min(due), self.hub.clock.now()))

    # ── what stands on the disk ────────────────────────────────────────────────────────────────────────────────────

    def ids(self) -> list[str]:
        found = []
        for file in writer.history_files(self.hub.disk, "hub"):
            history = writer.read_history_file(self.hub.disk, file)
            assert history is not None
            found.append(history.instance)
        return sorted(found)

    def records(self, id: str) -> list[ev.Record]:
        history = writer.read_history(self.hub.disk, "hub", id)
        assert history is not None
        assert history.is_whole
        return list(parse_records(history))

    def ledger(self, id: str) -> RuntimeState:
        return fold_history(self.records(id))


def testing_view(ledger: RuntimeState) -> list[Any]:
    return [
        ledger.status,
        ledger.open_decisions,
        ledger.event_waits,
        len(ledger.held),
        ledger.suspended,
        ledger.blocked,
        ledger.incomplete,
    ]
