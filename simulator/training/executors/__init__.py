"""Who computes results, and when: futures and the executors that fulfil them."""
