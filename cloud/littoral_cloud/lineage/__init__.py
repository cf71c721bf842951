"""Lineage: where each artifact came from, what became of it, and which ones may be deleted."""
