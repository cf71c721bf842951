"""The demo: the whole loop once, with real processes and real data; every figure is measured while it runs."""
