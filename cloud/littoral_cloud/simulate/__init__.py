"""A fleet on a virtual clock: what a policy would do to your fleet, before it does."""
