"""The database: one way to read, one way to write, and the schema's history."""
