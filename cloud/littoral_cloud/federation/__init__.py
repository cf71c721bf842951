"""Federated runs: rounds of training on the nodes, by Flower over the fleet's own channel, and their releases."""
