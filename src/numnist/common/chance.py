"""What chance alone explains: the interval of a share, and whether a network is any better than guessing."""

import math
from collections.abc import Sequence

_Z95 = 1.959963984540054  # the normal distribution's 97.5% quantile


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95% interval of a share seen `successes` times in n (Wilson 1927); (0, 1) for n = 0.

    Unlike the share +- 1.96 standard errors it stays within 0 and 1 and is sound close to both.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def learned_nothing(accuracy: float, class_counts: Sequence[int]) -> bool:
    """Whether an accuracy is no better than chance: than to name the most frequent class for every image.

    `class_counts` are the images of each class. It is better if its whole 95% interval lies above that class's share.
    """
    n = sum(class_counts)
    return wilson_interval(round(accuracy * n), n)[0] <= max(class_counts) / n
