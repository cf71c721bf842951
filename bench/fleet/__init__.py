"""The coordinator under real load: thousands of real sessions, rollouts, crashes, and a hundred thousand registered nodes.

`driver.py` holds the sessions, in processes of its own; `stage.py` starts the coordinator as an operator would; each part
measures both from outside. See `python -m bench.fleet PART --help`.
"""
