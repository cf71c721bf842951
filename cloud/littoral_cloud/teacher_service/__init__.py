"""Escalation: a teacher answers the inputs of which a node's own model is not sure."""
