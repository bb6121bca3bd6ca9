"""Inputs of a network that are made from a table and the files it names.

``part_builder`` has what all kinds share, ``array_part`` arrays from files. The entries of a data
spec that name them are in ``fairfix.data.spec``.
"""

from fairfix.data.inputs.part_builder import InputOptions

__all__ = ["InputOptions"]
