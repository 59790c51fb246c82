"""Keys on the client: proofs that a value is the enrolled one, and values from files of the environment."""
