"""Bounds what ended: once a day, by one coordinator."""
