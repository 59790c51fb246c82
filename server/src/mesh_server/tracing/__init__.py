"""Spans for OpenTelemetry, where the operator asks for them."""
