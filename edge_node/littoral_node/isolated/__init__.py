"""A model in a child process of its own, so that a runtime that crashes, hangs or takes all memory does not end the agent."""
