"""Built-in orchestrations: durable HTTP calls and timer functions."""
