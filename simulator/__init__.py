"""The simulator: a scenario becomes runs on one simulated clock."""
