"""Thresholds, decision policies, and the decision rule with its file."""
