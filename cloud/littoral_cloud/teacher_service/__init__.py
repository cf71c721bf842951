"""Joint inference: what a teacher says to inputs of which a node's own model is not sure."""
