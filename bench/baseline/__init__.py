"""Students beside a plain baseline, on small public data and a made one: `python -m bench.baseline`."""
