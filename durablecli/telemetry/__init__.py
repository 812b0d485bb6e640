"""Traces of orchestrations, activities, entities and HTTP requests, by OpenTelemetry (the extra `otel`)."""
