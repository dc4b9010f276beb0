"""What is computed: tasks, objectives, executors, merges and evaluation. Knows nothing of simulated time."""
