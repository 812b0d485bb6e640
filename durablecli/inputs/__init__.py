"""Typed inputs of orchestrators: their JSON schema, their check before a start, and fields that are given as texts."""
