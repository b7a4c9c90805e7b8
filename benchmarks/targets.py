"""Say which targets a benchmark has reached, as a table, and by its exit code whether all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: How much more memory counts as memory that does not grow.
FLAT = 1.25


@dataclass(frozen=True)
class Target:
    """Compare a figure with its bound.

    :param least: what it has to be at least.
    :param most: what it may be at most.
    """

    name: str
    found: float
    least: float = -math.inf
    most: float = math.inf

    @property
    def is_reached(self) -> bool:
        """Tell whether the figure is within its bound; one that is no number is not."""
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        """Return its line in the table."""
        bound = f"at most {self.most:.3g}" if self.least == -math.inf else f"at least {self.least:.3g}"
        return f"  {self.name:<52} {self.found:>9.4g}  {bound:<14} {'reached' if self.is_reached else 'MISSED'}"


def verdict(*targets: Target) -> int:
    """Print all targets; return 0 if each is reached, else 1."""
    print("targets:", *targets, sep="\n")
    return int(not all(target.is_reached for target in targets))
