"""What the models of this node did: counted in windows, queued, and reported to the cloud."""
