"""Test a model against demands: budgets, floors, ceilings and largest drops."""
