"""The node's settings: flags, environment and node.toml become one checked value."""
