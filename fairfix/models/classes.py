"""The classes of a network with more than two outputs, and those that are favorable."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fairfix.errors import UsageError


@dataclass(frozen=True)
class Classes:
    """What the outputs of a multi-class network stand for.

    Attributes:
        names: the label value of each output, in the order of the outputs; at least three.
        favorable: places of the favorable ones, ascending; neither none nor all.

    Raises:
        UsageError: if a name repeats, there are fewer than three, or the favorable ones are none or
            all of them.
    """

    names: tuple[str, ...]
    favorable: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 3 or len(set(self.names)) < len(self.names):
            raise UsageError(
                f"The classes {', '.join(map(repr, self.names))} are fewer than three or repeat; "
                "name each output of a network with more than two, in their order, with --classes."
            )
        places = set(self.favorable)
        if not places < set(range(len(self.names))) or not places:
            raise UsageError(
                "The favorable classes must be some of the classes, but not all; name them with "
                "--favorable."
            )

    @property
    def favorable_names(self) -> tuple[str, ...]:
        """The names of the favorable classes."""
        return tuple(self.names[place] for place in self.favorable)

    def probability(self, raw: Tensor) -> Tensor:
        """Return the probability of the favorable classes, (N,), from those of all, (N, K).

        Sums above 1 are round-off and become 1.
        """
        return self._of(raw, favorable=True).sum(1).clamp(max=1)

    def logit(self, raw: Tensor) -> Tensor:
        """Return the logit of ``probability``, (N,), from the logits of all classes, (N, K)."""
        favorable, others = self._of(raw, favorable=True), self._of(raw, favorable=False)
        return favorable.logsumexp(1) - others.logsumexp(1)

    def _of(self, raw: Tensor, *, favorable: bool) -> Tensor:
        rows = raw.reshape(-1, len(self.names))  # a single row may have been squeezed
        places = [i for i in range(len(self.names)) if (i in self.favorable) is favorable]
        return rows[:, places]
