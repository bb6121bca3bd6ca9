"""Fast scores of a network under many sets of parameters, or after some parameters changed."""
