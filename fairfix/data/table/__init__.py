"""The only reader of CSV and Parquet tables: from a file to checked labels, groups and features.

``columns`` assigns roles to columns, ``csv_reader`` and ``parquet_reader`` read the cells in
chunks, ``cell_values`` parses them, ``labels``, ``groups`` and ``features`` encode them, and
``read_table`` does all of it in one pass. The result is a ``Table``.
"""

from fairfix.data.table.cell_values import equal_values
from fairfix.data.table.columns import Columns
from fairfix.data.table.features import Encoder
from fairfix.data.table.read_table import read_table
from fairfix.data.table.table import Group, Table

__all__ = ["Columns", "Encoder", "Group", "Table", "equal_values", "read_table"]
