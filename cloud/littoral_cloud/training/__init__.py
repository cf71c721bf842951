"""Trains networks: the loop, its schedule and augmentation, checkpoints, and weights files."""
