"""The only reader of CSV and Parquet: from a file to labels, groups and features, checked once.

``columns`` says which column means what, ``source`` gives the cells of a file in chunks,
``values`` says what a cell means, ``coding`` turns values into labels and groups, ``read`` does
it all in one pass. The result is a ``Table``.
"""

from fairfix.table.columns import Columns
from fairfix.table.content import Group, Table
from fairfix.table.features import Encoder
from fairfix.table.read import read_table
from fairfix.table.values import same_value

__all__ = ["Columns", "Encoder", "Group", "Table", "read_table", "same_value"]
