"""The audit trail: who did what, in chains whose links nobody without the master key can forge."""
