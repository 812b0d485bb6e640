"""Runs modules that are written for the `durabletask` SDK."""
