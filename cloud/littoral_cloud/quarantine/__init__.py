"""Takes nodes that keep failing out of updates and rounds, and lets them back in."""
