"""The version of fairfix, defined only here."""

__version__ = "0.3.0"
