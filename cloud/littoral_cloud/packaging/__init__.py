"""Makes artifacts of a trained network: exports it, measures it, and writes its manifest."""
