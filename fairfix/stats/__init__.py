"""Statistical inference: confidence intervals, verdicts, power analysis, and paired comparisons."""
