"""The factory's benchmarks: one file a table, `python -m bench.factory TABLE [--full]` makes it.

A table is made of rows. What is done is kept under build/bench/factory (see kept.py), so a run that was killed goes on where it
stopped; `rm -r build/bench/factory` begins anew. Everything runs on one torch thread unless a table says otherwise.
"""
