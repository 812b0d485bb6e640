"""From a ledger's script back to a live machine: replay is nothing else than applying the same arrivals again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durablecli.model import events as ev
from durablecli.model.payloads import PAYLOAD_LIMIT
from durablecli.replay.errors import NonDeterminism
from durablecli.replay.executor import Machine, Signatures
from durablecli.replay.runtime_state import Ledger, answers


def restore(
    function: Callable[[Any], Any],
    ledger: Ledger,
    signatures: Signatures,
    *,
    torn: bool = False,
    payload_limit: int = PAYLOAD_LIMIT,
    azure: bool = False,
) -> tuple[Machine, list[ev.Record]]:
    """The machine at the end of the script, and what a cut-off last turn still decides: nothing, unless it is torn.

    Raises NonDeterminism where the function decides otherwise than the history.
    """
    script = ledger.script
    assert script is not None, "the ledger was folded without its script"
    torn = torn or ledger.torn
    machine = Machine(
        function,
        ledger.started,
        signatures,
        compared(record for turn in script for record in turn.decisions),
        torn=torn,
        payload_limit=payload_limit,
        reopened=ledger.reopened,
        azure=azure,
    )
    fresh: list[ev.Record] = []
    for turn in script:
        fresh += machine.apply(turn.arrival, turn.at, ledger.last_n + 1 + len(fresh), replaying=True)
    machine.caught_up()
    if not (machine.ended or ledger.ended):
        _check_pending(machine, ledger, fresh)
    machine.expect(compared(ledger.kept))
    return machine, fresh


def compared(decisions: Iterable[ev.Record]) -> list[ev.Record]:
    """The decisions that a replay compares: all but custom statuses."""
    return [record for record in decisions if not isinstance(record.event, ev.CustomStatusSet)]


def _check_pending(machine: Machine, ledger: Ledger, fresh: Iterable[ev.Record]) -> None:
    """Raise NonDeterminism where the function would wait for an outcome that can't come any more."""
    lost = machine.pending.difference(ledger.open)
    if lost:
        lost.difference_update(answers(held.event) for held in ledger.held)
        lost.difference_update(record.n for record in fresh)
    if lost:
        decided = (record for turn in ledger.script or () for record in turn.decisions if record.n in lost)
        raise NonDeterminism(
            next(decided, None), None, machine.line(), "waits for its outcome, which isn't open any more"
        )
