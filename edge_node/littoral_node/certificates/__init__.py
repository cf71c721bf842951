"""A node's certificate: obtained with a join line, and renewed while it is valid."""
