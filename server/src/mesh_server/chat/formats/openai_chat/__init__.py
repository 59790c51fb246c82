"""OpenAI's chat completions: read and written, as a surface and for a provider."""
