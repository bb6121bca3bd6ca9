"""Benchmarks: problems, protocols and comparisons of methods."""
