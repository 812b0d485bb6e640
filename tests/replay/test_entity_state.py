"""The state of an entity, folded from its log."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime

from msgspec import Raw

from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.replay.entity_state import fold_entity_log

AT = datetime(2026, 11, 22, tzinfo=UTC)
ORIGIN = ev.Origin("caller", "1", 2)
LARGE = Raw(b'"%b"' % (b"x" * 1_000_000))


def test_the_state_keeps_none_of_its_batch_in_memory() -> None:
    batch = ev.EntityBatch(1, Raw(b"7"), results=(ev.EntityOperationResult(1, LARGE),))
    lines = [
        codec.encode_record(ev.Record(1, AT, ev.EntityOperationReceived("get", ev.NULL, ORIGIN)), 0),
        codec.encode_record(ev.Record(2, AT, batch), 0),
    ]
    tracemalloc.start()
    try:
        state = fold_entity_log((codec.decode_record(line, 0) for line in lines), 0)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
    assert bytes(state.state) == b"7"
