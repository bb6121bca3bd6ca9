"""Internal helpers without fairness logic: progress, atomic writes, text, strict JSON."""
