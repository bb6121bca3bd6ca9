"""Exact threshold searches, decision policies, and the decision rule with its file."""
