"""Hello, cities: one activity after the other.

durable run hello_sequence
durable run hello_sequence --input '["Paris", "Lagos"]'
"""

from collections.abc import Generator
from typing import Any

import durablecli as df


@df.activity
def say_hello(city: str) -> str:
    """Activities do the work. They run at least once, in a thread of their own, and may do whatever they like."""
    return f"Hello {city}!"


@df.orchestrator
def hello_sequence(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[str]]:
    """Orchestrators decide what comes next. They are run again from their history, so they must decide the same."""
    given = context.get_input() or ["Tokyo", "Seattle", "London"]
    cities = [given] if isinstance(given, str) else given
    greetings = []
    for city in cities:
        greeting = yield context.call_activity(say_hello, city)
        greetings.append(greeting)
    return greetings
