"""The Mesh server: who is calling, the vault, proofs, and the gateway to the model providers."""

__version__ = "2.0.0"
