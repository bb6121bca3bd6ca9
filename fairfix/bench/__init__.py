"""Method comparisons: data sets, protocols, studies and their pages."""
