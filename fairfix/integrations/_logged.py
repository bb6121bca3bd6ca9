"""A claim as numbers by name, as experiment logs take them."""

from __future__ import annotations

from fairfix.stats.verdicts import Claim


def logged(claim: Claim, prefix: str) -> dict[str, float]:
    """Return value and interval: ``<prefix><metric>``, and the same with ``_low`` and ``_high``."""
    name = f"{prefix}{claim.metric}"
    interval = claim.interval
    return {name: claim.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
