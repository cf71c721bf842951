"""Teachers that students learn from: networks, ONNX files, functions of a user, and ensembles of them."""
