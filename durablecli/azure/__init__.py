"""Azure function apps as they are: `azure.functions` and `azure.durable_functions` as durablecli has them."""
