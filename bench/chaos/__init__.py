"""Faults of every kind against a real fleet, drawn by a seed; all is checked after each one: `python -m bench.chaos --help`."""
