"""Anthropic's messages: read and written, as a surface and for a provider."""
