"""Text formats of input files, read strictly: YAML and CSV."""
