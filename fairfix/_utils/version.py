"""The one place that says which fairfix this is."""

__version__ = "0.2.0"
