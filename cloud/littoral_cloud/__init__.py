"""The coordinator of a fleet of edge nodes: it trains models, releases them and rolls them out."""
