"""The run directory: written during a run, read by everything else."""
