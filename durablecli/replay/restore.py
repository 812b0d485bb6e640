"""From a ledger's script back to a live machine: replay is nothing else than applying the same arrivals again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durablecli.model import events as ev
from durablecli.model.payloads import PAYLOAD_LIMIT
from durablecli.replay.ledger import Ledger
from durablecli.replay.machine import Machine, Signatures


def restore(
    function: Callable[[Any], Any],
    ledger: Ledger,
    signatures: Signatures,
    *,
    torn: bool = False,
    payload_limit: int = PAYLOAD_LIMIT,
) -> tuple[Machine, list[ev.Record]]:
    """The machine at the end of the script, and what a cut-off last turn still decides: nothing, unless it is torn.

    Raises NonDeterminism where the function decides otherwise than the history.
    """
    script = ledger.script
    assert script is not None, "the ledger was folded without its script"
    torn = torn or ledger.torn
    expected = [r for turn in script for r in turn.decisions if not isinstance(r.event, ev.CustomStatusSet)]
    machine = Machine(function, ledger.started, signatures, expected, torn=torn, payload_limit=payload_limit)
    fresh: list[ev.Record] = []
    for turn in script:
        fresh += machine.apply(turn.arrival, turn.at, ledger.last_n + 1 + len(fresh), replaying=True)
    machine.caught_up()
    return machine, fresh
