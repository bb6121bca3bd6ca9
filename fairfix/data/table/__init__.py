"""The only reader of CSV and Parquet: from a file to labels, groups and features, checked once.

``columns`` says which column means what, ``source`` gives the cells of a file in chunks,
``values`` says what a cell means, ``coding`` turns values into labels and groups, ``read`` does
it all in one pass. The result is a ``Table``.
"""

from fairfix.data.table.cell_values import same_value
from fairfix.data.table.columns import Columns
from fairfix.data.table.features import Encoder
from fairfix.data.table.read_table import read_table
from fairfix.data.table.table import Group, Table

__all__ = ["Columns", "Encoder", "Group", "Table", "read_table", "same_value"]
