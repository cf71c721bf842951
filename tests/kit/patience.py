"""How long a test waits for what must come: so long that only a hang takes longer, on the slowest machine and the busiest."""

PATIENCE_S = 120.0  # less than pytest's own timeout, so that the failure says what did not come
