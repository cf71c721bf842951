"""Verified artifacts on this node: fetched, unpacked, tried on their probe, and counted against the node's limits."""
