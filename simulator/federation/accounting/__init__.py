"""Checks and costs of a finished run: invariants, losses, energy."""
