"""The operator API: REST and JSON over HTTP, for the command line, the page and scripts."""
