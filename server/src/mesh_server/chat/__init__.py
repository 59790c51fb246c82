"""Chat: from any surface to any provider, through one inner form."""
