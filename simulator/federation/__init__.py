"""Who acts when: client and server processes on the simulated clock, and the timeline of what they did."""
