"""Adapters for other packages: one module each, imported only when it is used."""
