"""Worker processes that share training with the process of the clock."""
