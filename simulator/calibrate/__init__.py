"""Measures the ways to train on this host."""
