"""A client of a load in two languages. It starts, raises events and signals, and notes what was acknowledged."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from durabletask.client import TaskHubGrpcClient
from durabletask.entities import EntityInstanceId
from durabletask.grpc_options import GrpcChannelOptions

from durablecli import Client
from durablecli.client import Query
from tests.sdk.load_programs import COLLECTORS, KEYS, PROGRAMS, STARTED
from tests.sdk.load_worker import RECONNECT

_MAX_UNFINISHED = 40
_QUIET = logging.getLogger("load")


@dataclass
class Collector:
    """An instance that waits for so many events, and the tokens that were sent to it."""

    wanted: int
    sent: list[int] = field(default_factory=list)
    unsure: list[int] = field(default_factory=list)


@dataclass
class Ledgers:
    """The tokens that were sent to the entities, by entity: those that must have arrived, and those that may have."""

    sent: dict[str, set[int]] = field(default_factory=dict)
    unsure: dict[str, set[int]] = field(default_factory=dict)

    def add(self, entity: str, token: int, *, unsure: bool = False) -> None:
        (self.unsure if unsure else self.sent).setdefault(entity, set()).add(token)


class LoadClient:
    """It keeps posting, whether a daemon lives or not. What a killed daemon hasn't acknowledged is unsure."""

    def __init__(self, address: str, reader: Client, seed: int) -> None:
        self._reader = reader
        self._rng = Random(seed)
        self._sdk = TaskHubGrpcClient(
            host_address=address, logger=_QUIET, channel_options=GrpcChannelOptions(raw_options=RECONNECT)
        )
        self.started: dict[str, tuple[str, Any]] = {}
        """Name and input by the id of the instance."""
        self.unsure: dict[str, tuple[str, Any]] = {}
        self.collectors: dict[str, Collector] = {}
        self.ledgers = Ledgers()
        self.events = 0
        self.signals = 0
        self.stopped = threading.Event()
        self.is_abandoned = False
        self._open: dict[str, Collector] = {}
        self._room = 0
        self._count = 0

    def run(self) -> None:
        """Until it is stopped; then every instance that waits for events gets them all, unless it is abandoned."""
        try:
            while not self.stopped.is_set():
                self._post()
            while self._open and not self.is_abandoned:
                self._raise_event(next(iter(self._open)))
        finally:
            self._sdk.close()

    def _post(self) -> None:
        if self._room <= 0:
            self._room = _MAX_UNFINISHED - self._reader.count(Query(status=("Pending", "Running")))
        if self._open and (self._room <= 0 or self._rng.random() < 0.4):
            self._raise_event(self._rng.choice(sorted(self._open)))
        elif self._room <= 0:
            self.stopped.wait(0.05)
        elif self._rng.random() < 0.15:
            self._signal()
        else:
            self._start()

    def _start(self) -> None:
        name = self._rng.choice(STARTED if len(self._open) > 8 or self._rng.random() < 0.85 else COLLECTORS)
        given = PROGRAMS[name].draw(self._rng)
        self._count += 1
        instance = f"load-{self._count}"
        self._room -= 1
        if self._acknowledged(lambda: self._sdk.schedule_new_orchestration(name, input=given, instance_id=instance)):
            self.started[instance] = (name, given)
            if name in COLLECTORS:
                self._open[instance] = self.collectors[instance] = Collector(given)
        elif name not in COLLECTORS:  # a collector that nobody sends to would wait for ever
            self.unsure[instance] = (name, given)
        else:
            self._open[instance] = self.collectors[instance] = Collector(given)
            self.unsure[instance] = (name, given)

    def _raise_event(self, instance: str) -> None:
        collector, token = self._open[instance], self._rng.randrange(1 << 40)
        try:
            acknowledged = self._acknowledged(lambda: self._sdk.raise_orchestration_event(instance, "item", data=token))
        except LookupError:
            assert instance in self.unsure, f"{instance} was acknowledged, and is unknown"
            del self._open[instance], self.collectors[instance]
            return
        (collector.sent if acknowledged else collector.unsure).append(token)
        self.events += acknowledged
        if len(collector.sent) == collector.wanted:
            del self._open[instance]

    def _signal(self) -> None:
        entity = EntityInstanceId(self._rng.choice(("Ledger", "JsLedger")), self._rng.choice(KEYS))
        token = self._rng.randrange(1 << 40)
        acknowledged = self._acknowledged(lambda: self._sdk.signal_entity(entity, "add", token))
        self.ledgers.add(str(entity), token, unsure=not acknowledged)
        self.signals += acknowledged

    def _acknowledged(self, call: Any) -> bool:
        """Whether a call was acknowledged, and not cut off. Raises LookupError if the instance is unknown."""
        try:
            call()
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise LookupError from None
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
            self.stopped.wait(0.02)
            return False
        return True
