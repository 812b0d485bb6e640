"""Immutable values, and how they are encoded. No clock, no random source, no files, no threads."""
