"""How the coordinator is: whether it is ready, and its metrics."""
