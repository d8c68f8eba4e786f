"""One file per training framework: how to read its parameters, gradients, activations and structure."""
