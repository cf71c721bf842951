"""The search's benchmarks: one file a part, `python -m bench.search PART` makes it and merges it into bench/results/search.json.

What is done is kept under build/bench/search, so a run that was killed goes on where it stopped. One torch thread each.
"""
