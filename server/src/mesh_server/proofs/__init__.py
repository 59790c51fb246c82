"""Proofs: whether somebody has the value that was enrolled under a name, without their telling it."""
