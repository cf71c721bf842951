"""Who this node is, and the folder that holds its identity and state on a disk that may fail."""
