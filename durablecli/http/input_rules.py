"""What the servers know of the inputs of orchestrators: from the functions of the app, else from the running engine."""

from __future__ import annotations

from durablecli.client import Client, PublishedFunctions
from durablecli.inputs.input_check import InputRules
from durablecli.inputs.input_schema import Schema
from durablecli.registry import Registry
from durablecli.serving.engine_bridge import EngineBridge


async def find_input_rules(registry: Registry | None, bridge: EngineBridge, name: str) -> InputRules | None:
    """Return what is known of the input of an orchestrator; None if it declares no type."""
    if registry is not None:
        return read_input_rules(registry, None, name)
    return await bridge.read(lambda client: read_input_rules(None, client, name))


def read_input_rules(registry: Registry | None, client: Client | None, name: str) -> InputRules | None:
    """Return what is known of the input of an orchestrator, from a registry or else by a client."""
    if registry is not None:
        function = registry.find_orchestrator(name)
        return None if function is None else function.input_rules
    published = None if client is None else client.published()
    return None if published is None else published.input_rules(name)


async def list_input_schemas(registry: Registry | None, bridge: EngineBridge) -> dict[str, Schema]:
    """Return the schemas of the inputs that orchestrators declare, by their names."""
    if registry is not None:
        functions = registry.functions_of_kind("orchestrator")
        return {each.name: each.input_schema for each in functions if each.input_schema}
    published: PublishedFunctions | None = await bridge.read(lambda client: client.published())
    names = [] if published is None else [each.name for each in published.functions if each.kind == "orchestrator"]
    found = {name: published.input_rules(name) for name in names} if published is not None else {}
    return {name: rules.schema for name, rules in found.items() if rules is not None}
