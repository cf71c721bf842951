"""Counters that cost less than a microsecond each; littoral_cloud.health reads them."""
