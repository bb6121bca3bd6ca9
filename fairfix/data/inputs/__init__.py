"""Inputs of a network that are made from a table and the files it names.

``part_builder`` has what all kinds share. ``array_part`` reads arrays from files. ``image_part``
decodes images: ``image_files`` finds them, ``image_decoding`` decodes one and ``image_cache`` all.
``text_part`` makes tokens of texts, with the tokenizer of ``tokenizer_folder``.
"""

from fairfix.data.inputs.part_builder import InputOptions

__all__ = ["InputOptions"]
