"""What is computed: tasks, objectives, executors, merges and evaluation. Independent of simulated time."""
