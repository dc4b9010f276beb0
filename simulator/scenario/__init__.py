"""The scenario YAML: its sections, loading and checks."""
