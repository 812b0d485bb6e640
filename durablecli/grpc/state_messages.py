"""The state of an instance as a message."""

from __future__ import annotations

from durablecli.protocol.generated import pb
from durablecli.protocol.orchestration_states import make_orchestration_state, read_fields
from durablecli.replay.runtime_state import RuntimeState


def make_state(state: RuntimeState, *, payloads: bool) -> pb.OrchestrationState:
    """Return the state of an instance as a message; input and output only with `payloads`."""
    return make_orchestration_state(read_fields(state)._replace(execution=state.execution or None), payloads=payloads)
