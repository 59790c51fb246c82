"""What the server counts of itself, and `GET /metrics`."""
