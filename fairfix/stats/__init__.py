"""What rows can show, and how surely: intervals, verdicts, power, and before against after."""
