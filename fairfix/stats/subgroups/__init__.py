"""Groups within groups: intersections of protected columns, and a search over conjunctions."""
