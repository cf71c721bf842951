"""Writes trained networks as artifacts of each runtime: ONNX, ncnn, Core ML, TensorRT; one format a file."""
