"""Reads run directories, tabulates and draws. Knows records, never methods or training."""
