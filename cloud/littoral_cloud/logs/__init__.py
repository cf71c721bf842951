"""Log lines as text or as JSON, each with the id of the request that it belongs to."""
