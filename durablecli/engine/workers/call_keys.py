"""The key by which the calls of an activity are limited: what its `key` function makes of the input."""

from __future__ import annotations

from hashlib import blake2b

from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.activity_arguments import bind_arguments
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import DurableError

MAX_KEY_LENGTH = 200
_KEY_TYPES = (str, int, float, type(None))


class KeyFunctionFailed(DurableError):
    """The key function of an activity raised, or returned what can't be a key. The call fails, and isn't retried."""


def make_key(call: ActivityCall) -> str:
    """Return the key of a call, which may be shortened; empty if its activity has no key function.

    The key function gets what the activity gets, without the context. Raises what decoding the input raises, and
    KeyFunctionFailed.
    """
    function = call.function
    if function.options.key is None:
        return ""
    positional, keywords = bind_arguments(function, call.input, call.make_context)
    given = [value for value in positional if type(value) is not ActivityContext]
    named = {name: value for name, value in keywords.items() if type(value) is not ActivityContext}
    try:
        key = function.options.key(*given, **named)
    except BaseException as error:
        text = f"the key function of activity '{function.name}' raised {type(error).__name__}: {error}"
        raise KeyFunctionFailed(text) from error
    if not isinstance(key, _KEY_TYPES):
        text = f"the key function of activity '{function.name}' returned a {type(key).__name__}; a key is a text"
        raise KeyFunctionFailed(text)
    return _shorten(str(key))


def _shorten(key: str) -> str:
    """Return a key of limited length, which still differs from other keys."""
    if len(key) <= MAX_KEY_LENGTH:
        return key.encode("utf-8", "backslashreplace").decode()
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{key[: MAX_KEY_LENGTH - 25].encode('utf-8', 'backslashreplace').decode()}…{digest}"
