"""Limits that several packages share. What one module alone limits is a constant of that module."""

from __future__ import annotations

MIB = 1024 * 1024

PAYLOAD_LIMIT = 16 * MIB
"""The largest input, result, event or entity state, as JSON; `limits.payload` can only lower it."""
SPILL_OVER = 256 * 1024
"""The default of `payloads.spill_over`."""
MAX_RESPONSE_BYTES = 16 * MIB
"""The size of an HTTP response: a page of the HTTP API ends there, and `call_http` refuses a larger one."""

MAX_ID_LENGTH = 256
"""Characters of an instance id, and of an entity id."""
MAX_NAME_LENGTH = 256
"""Characters of the name of a function, an event or an entity operation."""
MAX_TAGS = 32
"""Tags of an instance."""
MAX_TAG_KEY_LENGTH = 128
"""Characters of the key of a tag; a value may be as long as a name."""
MAX_NESTING_DEPTH = 200
"""Levels of lists and objects within one another in a payload."""

MAX_ITEMS_PER_MESSAGE = 1_000
"""Instances that one message of a client is for; starts of more are a batch."""
MAX_PAGE_SIZE = 1_000
"""Instances on one page of a list."""
