"""Limits and names that both sides hold to."""

API_PREFIX = "/api/v1"

#: Largest request body in bytes that a server reads (20 MiB).
MAX_BODY_BYTES = 20 * 1024 * 1024
#: Largest block of request line and headers in bytes.
MAX_HEADER_BYTES = 32 * 1024
#: Longest key name and namespace in bytes of UTF-8.
MAX_KEY_NAME_BYTES = 256
#: Largest value of a key in bytes (64 KiB).
MAX_KEY_VALUE_BYTES = 64 * 1024

#: Every API token starts with this, so that people and scanners know one when they see it.
API_TOKEN_PREFIX = "mesh_"  # noqa: S105 - a prefix, not a password
