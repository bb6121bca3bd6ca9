"""Internal helpers without knowledge of fairness: progress, atomic writes, text, strict JSON."""
