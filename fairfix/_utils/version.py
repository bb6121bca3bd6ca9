"""The one place that says which fairfix this is."""

__version__ = "0.3.0"
