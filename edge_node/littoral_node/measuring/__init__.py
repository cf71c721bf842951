"""Benchmarks: candidates that the cloud wants measured on this node, each in a child process."""
