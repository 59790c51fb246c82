"""The wire formats: how each is read and written, and the one inner form between them."""
