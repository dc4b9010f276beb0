"""Reads run directories, tabulates and draws. Imports the record, never methods or training."""
