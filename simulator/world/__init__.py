"""How long things take: arrivals, computing, transfers and faults. Knows nothing of models or methods."""
