"""The version of fairfix, defined only here."""

__version__ = "0.4.0.dev0"
