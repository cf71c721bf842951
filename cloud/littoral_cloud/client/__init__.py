"""A client of the operator API: what the command line is."""
