"""The engine: gathers inputs, runs turns, commits what they decide, and publishes it."""
