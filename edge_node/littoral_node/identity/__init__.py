"""The node's identity, and the folder that holds its identity and state on a disk that may fail."""
