"""The JSON documents as pydantic models, from which the JSON Schema files are generated.

The models serve tests, documentation and readers of the documents; writing a document does not
import them. ``python -m fairfix.report.schema`` writes ``schema.json`` and ``gate.schema.json``.
"""
