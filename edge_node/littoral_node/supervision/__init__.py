"""Crashes, hangs and tasks of the agent: who counts them, what follows, what the service manager hears."""
