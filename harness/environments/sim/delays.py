"""Delay distributions as tables of quantiles: a draw is one random number and one look-up, whatever the shape."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Literal

DelayShape = Literal["constant", "uniform", "exponential", "lognormal"]

QUANTILES = 4096
"""Table length: fine enough that the last quantile of the exponential shape is nine times its mean."""

LOGNORMAL_SIGMA = 0.8
"""Spread of the lognormal shape: its 99.9th percentile is about nine times its mean, as in measured data-centre delays."""


@functools.cache
def quantiles_ns(shape: DelayShape, least_ns: int, mean_ns: int) -> tuple[int, ...]:
    """`QUANTILES` delays in ns, ascending and each at least 1, such that a uniform choice among them has this shape, least
    and mean (of the tail's last 1/8192 part only the middle is kept)."""
    assert 0 <= least_ns <= mean_ns, (least_ns, mean_ns)
    rest_ns = mean_ns - least_ns
    ranks = [(rank + 0.5) / QUANTILES for rank in range(QUANTILES)]
    match shape:
        case "constant":
            excess = [float(rest_ns)] * QUANTILES
        case "uniform":
            excess = [2 * rest_ns * rank for rank in ranks]
        case "exponential":
            excess = [-rest_ns * math.log(1 - rank) for rank in ranks]
        case "lognormal":
            normal = NormalDist(0, LOGNORMAL_SIGMA)
            scale = rest_ns / math.exp(LOGNORMAL_SIGMA**2 / 2)
            excess = [scale * math.exp(normal.inv_cdf(rank)) for rank in ranks]
    return tuple(max(1, least_ns + int(value)) for value in excess)
