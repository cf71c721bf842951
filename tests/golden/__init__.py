"""Numbers of the factory that a refactoring must not move."""
