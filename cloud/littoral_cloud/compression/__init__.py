"""Makes a trained network smaller: pruning, quantization-aware training, weight sharing; one method a file."""
