"""Counts by group, fairness metrics, performance measures, and the objective built on them."""
