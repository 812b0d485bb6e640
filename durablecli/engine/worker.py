"""The main program of a worker process: runs one activity after another, an order and an answer a line.

Its stdout is the pipe to the engine; what activities print goes to stderr instead, and so is seen in the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from durablecli.app import Registry
from durablecli.engine.activity import Call, Cancellation, Outcome, failed
from durablecli.engine.loader import load
from durablecli.engine.workers import Answer, Order
from durablecli.model.events import ABSENT

_order = msgspec.json.Decoder(Order)


def answer(registry: Registry, order: Order) -> Outcome:
    """Run one order."""
    function = registry.activity(order.name)
    if function is None:
        return failed(order.key, LookupError(f"activity '{order.name}' isn't loaded in the worker"))
    call = Call(
        order.key,
        function,
        order.input,
        order.attempt,
        order.redelivered,
        order.first,
        order.payload_limit,
        Cancellation(),
    )
    return call.run()


def main() -> None:
    base, *targets = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to handle
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    registry = load(targets, Path(base)).registry
    for line in sys.stdin.buffer:
        outcome = answer(registry, _order.decode(line))
        pipe.write(msgspec.json.encode(Answer(outcome.result or ABSENT, outcome.failure, outcome.outputs)) + b"\n")
        pipe.flush()


if __name__ == "__main__":
    main()
