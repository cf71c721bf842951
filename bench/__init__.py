"""Benchmarks, one file each; what they found is in results/, what they must reach in goals.toml."""
