"""Costs and traits of an objective, by one dry run."""
