"""Write the JSON Schema files of the package: ``python -m fairfix.report.schema``."""

from __future__ import annotations

from fairfix.report.schema.json_schema import write_schema_files

if __name__ == "__main__":
    write_schema_files()
