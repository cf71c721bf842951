"""This node's part in federated runs: tasks, training in a worker process, replies. torch and flwr are imported here alone."""
