"""The command-line options, defined once each and grouped by topic."""
