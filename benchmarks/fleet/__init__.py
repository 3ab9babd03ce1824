"""A fleet of simulated drones on one real broker: `python -m benchmarks.fleet`."""
