"""Intersections of group columns, and a search for deviating subgroups."""
