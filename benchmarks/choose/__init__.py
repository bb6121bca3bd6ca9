"""A bed to choose methods and their settings on: ``python -m benchmarks.choose``."""
