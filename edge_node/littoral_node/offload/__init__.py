"""Offload: inputs of which a model is not sure may be sent on to the teacher in the cloud."""
