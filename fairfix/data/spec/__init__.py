"""How a raw table becomes the inputs of a network: a plain JSON file beside the model.

``spec`` holds the file as a whole, ``entries`` the encodings that it can list, ``transformer``
the one that calls a scikit-learn transformer, ``document`` checks JSON value by value.
"""

from fairfix.data.spec.spec import DataSpec

__all__ = ["DataSpec"]
