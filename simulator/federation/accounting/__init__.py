"""What a run is held to and what it cost: invariants, losses, energy."""
