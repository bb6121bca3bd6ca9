"""The labels of a network with one output for each of several, and the one that is scored."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fairfix._utils.text import did_you_mean, quoted_list
from fairfix.errors import UsageError


@dataclass(frozen=True)
class Targets:
    """Which of several labels each output of a network is of.

    Attributes:
        names: the label column of each output, in the order of the outputs; at least two.
        target: the one whose scores are used.

    Raises:
        UsageError: if a name repeats, there are fewer than two, or the target is not among them.
    """

    names: tuple[str, ...]
    target: str

    def __post_init__(self) -> None:
        if len(self.names) < 2 or len(set(self.names)) < len(self.names):
            raise UsageError(
                f"The labels {quoted_list(self.names)} are fewer than two or repeat; name the "
                "label column of each output, in the order of the outputs, with --label."
            )
        if self.target not in self.names:
            raise UsageError(
                f"{self.target!r} is not among the labels {quoted_list(self.names)}"
                f"{did_you_mean(self.target, self.names)} Name one of them with --target."
            )

    @property
    def place(self) -> int:
        """The place of the target among the outputs."""
        return self.names.index(self.target)

    def of(self, raw: Tensor) -> Tensor:
        """Return the output for the target, (N,), from those for all labels, (N, L)."""
        return raw.reshape(-1, len(self.names))[:, self.place]
