"""Holding a model against what is demanded of it."""
