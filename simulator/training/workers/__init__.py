"""Worker processes that share training with the process that runs the clock."""
