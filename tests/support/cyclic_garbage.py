"""Finds what reference counting alone doesn't free."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Run a block without the garbage collector. `gc.get_objects()` gives only what the block has made."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


@contextmanager
def collect_cyclic_garbage() -> Iterator[Counter[str]]:
    """Run a block without the garbage collector. Afterwards the counter holds the types of what only it can free."""
    found: Counter[str] = Counter()
    with without_collector():
        try:
            yield found
            gc.set_debug(gc.DEBUG_SAVEALL)  # it keeps what it finds
            gc.collect()
            found.update(type(each).__name__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
