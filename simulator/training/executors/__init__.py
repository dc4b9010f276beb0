"""Futures of results, and the executors that fulfil them."""
