"""What the Mesh client and the Mesh server agree on, byte for byte.

Everything here is pure: no I/O, no clock, and no randomness that is not handed in.
"""
