"""OpenAI's Responses: read and written, as a surface and for a provider."""
