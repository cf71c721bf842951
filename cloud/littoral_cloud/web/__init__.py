"""The page: the fleet in a browser, rendered on the server."""
