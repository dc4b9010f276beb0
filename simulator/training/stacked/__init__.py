"""Many clients trained as one stack of parameters."""
