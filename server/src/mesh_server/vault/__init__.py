"""The vault: people's keys, each version sealed under a key of its own."""
