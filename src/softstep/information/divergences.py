r"""One distribution beside another: cross-entropy, KL divergence, mutual information, perplexity.

A divergence of distributions that are nearly equal is a small sum of terms
:math:`p \log (p / q)` of both signs, of which rounding would leave nothing. Since both
distributions sum to 1, it is also the sum of :math:`p \log (p / q) - p + q`, whose terms are never
negative, so nothing cancels between them. With :math:`d = (p - q) / q` a term is

.. math:: q\,((1 + d) \log(1 + d) - d) = q\,d^2 \sum_{k \ge 0} \frac{(-d)^k}{(k + 1) (k + 2)},

and the series is used where it converges fast, so that nothing cancels within a term either.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep._probabilities import (
    Float64,
    as_axis,
    as_float64,
    check_sums,
    tolerance,
)
from softstep.information.measures import entropy, logarithm

__all__ = ["cross_entropy", "kl_divergence", "mutual_information", "perplexity"]

# Up to this |d| by the series: 17 terms leave 2e-17 there, and the other way loses 4 bits at most.
_NEAR = 0.125
_SERIES = [(-1) ** k / ((k + 1) * (k + 2)) for k in range(17)]


def cross_entropy(p: ArrayLike, q: ArrayLike, axis: int = -1, base: float | None = None) -> Any:
    r"""Cross-entropy of `p` under `q`, :math:`-\sum_j p_j \log q_j`.

    How surprising outcomes of `p` are, in the mean, to whom expects `q`. For logits and labels see
    `softstep.losses.cross_entropy`.

    Parameters
    ----------
    p, q : array_like, broadcast with each other
        Distributions along `axis`, as for `entropy`.
    axis : int, default -1
        The axis that sums to 1, once both are broadcast.
    base : float, optional
        Of the logarithm: above 0, not 1. Nats by default; 2 for bits.

    Returns
    -------
    float64 scalar or ndarray, the broadcast shape without `axis`
        Never below the entropy of `p`; inf where some q is 0 and its p is not.

    Raises
    ------
    TypeError, ValueError
        As `entropy`, or the shapes cannot be broadcast.

    References
    ----------
    Dive into Deep Learning, section 22.11.5.

    Examples
    --------
    >>> from softstep.information import cross_entropy
    >>> p, uniform = [0.5, 0.125, 0.125, 0.25], [0.25, 0.25, 0.25, 0.25]
    >>> float(cross_entropy(p, uniform, base=2))
    2.0
    """
    log = logarithm(base)
    first, second = _pair(p, q, axis)
    with np.errstate(divide="ignore", under="ignore"):
        terms = first * log(np.where(first > 0, second, 1.0))
    return np.subtract(0.0, terms.sum(axis=-1))[()]


def kl_divergence(p: ArrayLike, q: ArrayLike, axis: int = -1, base: float | None = None) -> Any:
    r"""Kullback-Leibler divergence of `p` from `q`, :math:`\sum_j p_j \log (p_j / q_j)`.

    Computed from terms that are never negative (see the head of this module), so it is accurate for
    distributions that are nearly equal, 0 for equal ones and never below 0.

    Parameters
    ----------
    p, q : array_like, broadcast with each other
        Distributions along `axis`, as for `entropy`.
    axis : int, default -1
        The axis that sums to 1, once both are broadcast.
    base : float, optional
        Of the logarithm: above 0, not 1. Nats by default; 2 for bits.

    Returns
    -------
    float64 scalar or ndarray, the broadcast shape without `axis`
        0 if, and only if, both are equal; inf where some q is 0 and its p is not.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy`.

    References
    ----------
    S. Kullback and R. A. Leibler, "On Information and Sufficiency" (1951); Dive into Deep Learning,
    section 22.11.4.

    Examples
    --------
    >>> from softstep.information import kl_divergence
    >>> p, uniform = [0.5, 0.125, 0.125, 0.25], [0.25, 0.25, 0.25, 0.25]
    >>> round(float(kl_divergence(p, uniform, base=2)), 12)
    0.25
    >>> float(kl_divergence(p, p))
    0.0
    """
    unit = _unit(base)
    first, second = _pair(p, q, axis)
    return (_terms(first, second).sum(axis=-1) / unit)[()]


def mutual_information(
    joint: ArrayLike, axes: tuple[int, int] = (-2, -1), base: float | None = None
) -> Any:
    r"""Mutual information of two variables, :math:`\sum_{ij} p_{ij} \log (p_{ij} / (p_i p_j))`.

    The divergence of the joint distribution from the product of its margins.

    Parameters
    ----------
    joint : array_like with at least two axes
        Joint distributions: not negative, with sums over both `axes` within the square root of eps
        (of the dtype that they come in) of 1.
    axes : pair of int, default (-2, -1)
        The axes of the two variables. Others hold one joint distribution each.
    base : float, optional
        Of the logarithm: above 0, not 1. Nats by default; 2 for bits.

    Returns
    -------
    float64 scalar or ndarray, shape of `joint` without `axes`
        0 for independent variables, up to the rounding of their margins; the entropy of either for
        variables that determine each other.

    Raises
    ------
    TypeError, ValueError
        As `entropy`, or `axes` are not two different axes.

    References
    ----------
    Dive into Deep Learning, section 22.11.3.

    Examples
    --------
    >>> from softstep.information import mutual_information
    >>> round(float(mutual_information([[0.5, 0.0], [0.0, 0.5]], base=2)), 12)
    1.0
    >>> float(mutual_information([[0.25, 0.25], [0.25, 0.25]]))
    0.0
    """
    unit = _unit(base)
    array, dtype = as_float64("joint", joint)
    try:
        first, second = axes
    except (TypeError, ValueError):
        raise TypeError(f"axes is {axes!r}; accepted: a pair of integers") from None
    numbers = as_axis("joint", array, first, "axes[0]"), as_axis("joint", array, second, "axes[1]")
    if numbers[0] == numbers[1]:
        raise ValueError(f"axes is {axes!r}; accepted: two different axes of joint")
    check_sums("joint", array, numbers, tolerance(dtype))
    both = np.moveaxis(array, numbers, (-2, -1))
    with np.errstate(under="ignore"):
        product = both.sum(axis=-1, keepdims=True) * both.sum(axis=-2, keepdims=True)
    # A product may round to 0 where what it stands beside does not: that term is nearly 0, not inf.
    tiny = np.finfo(np.float64).tiny
    product = np.where((both > 0) & (product < tiny), tiny, product)
    return (_terms(both, product).sum(axis=(-2, -1)) / unit)[()]


def perplexity(p: ArrayLike, q: ArrayLike | None = None, axis: int = -1) -> Any:
    r"""Perplexity, :math:`e^H` with the entropy of `p`, or its cross-entropy under `q`, in nats.

    Among how many equally likely outcomes one would be as uncertain. It does not depend on the base
    of the logarithm. For predictions and labels see `softstep.losses.perplexity`.

    Parameters
    ----------
    p : array_like
        Distributions along `axis`, as for `entropy`.
    q : array_like, broadcast with `p`, optional
        Distributions that are expected instead of `p`.
    axis : int, default -1

    Returns
    -------
    float64 scalar or ndarray
        At least 1.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy`.

    References
    ----------
    Dive into Deep Learning, section 9.3.2.

    Examples
    --------
    >>> from softstep.information import perplexity
    >>> round(float(perplexity([0.25, 0.25, 0.25, 0.25])), 12)
    4.0
    """
    nats = entropy(p, axis) if q is None else cross_entropy(p, q, axis)
    with np.errstate(over="ignore"):
        return np.exp(nats)


def _unit(base: float | None) -> float:
    """Return the nats in one unit of information."""
    logarithm(base)
    return 1.0 if base is None else math.log(base)


def _pair(p: ArrayLike, q: ArrayLike, axis: int) -> tuple[Float64, Float64]:
    """Return two arrays of distributions in a common shape, along the last axis."""
    (first, one), (second, other) = as_float64("p", p), as_float64("q", q)
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise ValueError(
            f"q has shape {second.shape}; accepted: what broadcasts with {first.shape}, the shape "
            "of p"
        ) from None
    first, second = np.broadcast_to(first, shape), np.broadcast_to(second, shape)
    number = as_axis("p", first, axis)
    check_sums("p", first, (number,), tolerance(one))
    check_sums("q", second, (number,), tolerance(other))
    return np.moveaxis(first, number, -1), np.moveaxis(second, number, -1)


def _terms(p: Float64, q: Float64) -> Float64:
    """Return ``p log(p / q) - p + q``; q where p is 0, inf where q alone is 0."""
    with np.errstate(all="ignore"):  # what divides by 0 or overflows is replaced below
        ratio = p / q
        usual = (ratio >= np.finfo(np.float64).tiny) & (ratio < np.inf)
        logs = np.where(usual, np.log(ratio), np.log(p) - np.log(q))
        difference = p - q
        terms = p * logs - difference
        d = difference / q
        near = np.abs(d) <= _NEAR
        series = np.zeros_like(d)
        for coefficient in reversed(_SERIES):
            series = series * d + coefficient
        terms = np.where(near, q * d * d * series, terms)
    return np.where(p == 0, q, np.where(q == 0, np.inf, terms))
