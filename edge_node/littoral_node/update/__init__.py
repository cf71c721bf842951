"""From the desired state to what is in service: one update a model, a table of moves, one idempotent step a file."""
