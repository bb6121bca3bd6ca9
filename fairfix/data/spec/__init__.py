"""Data specs: how a raw table becomes the inputs of a network, as a JSON file next to the model.

``data_spec`` holds the file as a whole, ``encodings`` the encodings of one column that it may list,
``transformer_encoding`` the one that calls a scikit-learn transformer.
"""

from fairfix.data.spec.data_spec import DataSpec

__all__ = ["DataSpec"]
