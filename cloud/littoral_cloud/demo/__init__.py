"""The whole loop in one run: real processes, real MNIST, every figure measured while it runs."""
