"""Data specs: how a raw table becomes the inputs of a network, as a JSON file next to the model.

``data_spec`` holds version 1, one matrix of numbers, ``encodings`` the encodings of one column that
it may list, and ``transformer_encoding`` the one that calls a scikit-learn transformer.
``inputs_spec`` holds version 2, several inputs of any kind. ``find_spec`` reads both, and
``beside_model`` the preprocessing of other packages.
"""

from fairfix.data.spec.data_spec import DataSpec
from fairfix.data.spec.find_spec import Spec, comparable, find_spec, load_spec, spec_from_json
from fairfix.data.spec.inputs_spec import InputsSpec

__all__ = [
    "DataSpec",
    "InputsSpec",
    "Spec",
    "comparable",
    "find_spec",
    "load_spec",
    "spec_from_json",
]
