"""Serves models over the Open Inference Protocol version 2, by REST and gRPC."""
