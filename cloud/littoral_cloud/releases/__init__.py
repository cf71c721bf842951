"""Releases: signed artifacts, the releases that are made of them, and the teachers that belong to them."""
