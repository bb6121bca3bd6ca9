"""Networks as score functions: checkpoints, activations, prunable units, weight batches."""
