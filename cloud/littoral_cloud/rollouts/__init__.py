"""Rollouts: a release reaches the fleet in waves, canary first, and goes back where a node cannot take it."""
