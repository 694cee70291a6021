"""Information of events and of single distributions: Hartley, surprisal, entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep._probabilities import Float64, as_distributions, as_float64, as_probabilities, place
from softstep.models.checks import check_number

__all__ = ["entropy", "hartley", "logarithm", "self_information", "surprisal"]


def logarithm(base: float | None) -> Callable[[Float64], Float64]:
    """Return the logarithm to a base (None: e) as a function of arrays; -inf at 0."""
    if base is None:
        return np.log
    number = check_number("base", base)
    if number in (0, 1):
        raise ValueError(f"base is {base!r}; accepted: None (e), or a number above 0, not 1")
    if number == 2:
        return np.log2
    if number == 10:
        return np.log10
    return lambda x: np.log(x) / math.log(number)


def hartley(n: ArrayLike, s: ArrayLike, base: float | None = 2) -> Any:
    r"""Hartley's information of `n` choices out of `s` equal ones each, :math:`n \log s`.

    Parameters
    ----------
    n : array_like
        How many choices are made: finite, at least 0.
    s : array_like, broadcast with `n`
        How many symbols each choice is among: finite, at least 1.
    base : float, default 2
        Of the logarithm: above 0, not 1. Bits by default; None for nats.

    Returns
    -------
    float64 scalar or ndarray

    Raises
    ------
    TypeError, ValueError
        A number is not as described; the first one is named.

    References
    ----------
    R. V. L. Hartley, "Transmission of Information", Bell System Technical Journal 7 (1928).

    Examples
    --------
    >>> from softstep.information import hartley
    >>> float(hartley(5, 2))  # five tosses of a coin
    5.0
    """
    log = logarithm(base)
    choices, symbols = as_float64("n", n)[0], as_float64("s", s)[0]
    for name, array, least in (("n", choices, 0), ("s", symbols, 1)):
        wrong = ~((array >= least) & (array < np.inf))
        if wrong.any():
            found = array.flat[int(np.argmax(wrong))]
            raise ValueError(f"{place(name, wrong)} is {found}; accepted: finite, at least {least}")
    return (choices * log(symbols))[()]


def surprisal(p: ArrayLike, base: float | None = None) -> Any:
    r"""Self-information of events of probability `p`, :math:`-\log p`.

    `self_information` is another name of this function.

    Parameters
    ----------
    p : array_like of any shape
        Probabilities, 0 to 1.
    base : float, optional
        Of the logarithm: above 0, not 1. Nats by default; 2 for bits.

    Returns
    -------
    float64 scalar or ndarray, shape of `p`
        inf (for a base above 1) where `p` is 0.

    Raises
    ------
    TypeError, ValueError
        A number is not as described; the first one is named.

    References
    ----------
    Dive into Deep Learning, section 22.11.1.

    Examples
    --------
    >>> from softstep.information import surprisal
    >>> surprisal([1.0, 0.5, 0.125], base=2)
    array([0., 1., 3.])
    """
    log = logarithm(base)
    probabilities = as_probabilities("p", p)
    with np.errstate(divide="ignore"):
        return np.subtract(0.0, log(probabilities))[()]


self_information = surprisal


def entropy(p: ArrayLike, axis: int = -1, base: float | None = None) -> Any:
    r"""Entropy of distributions, the mean surprisal :math:`-\sum_j p_j \log p_j`.

    Parameters
    ----------
    p : array_like
        Distributions along `axis`: not negative, with sums within the square root of eps (of the
        dtype that they come in) of 1.
    axis : int, default -1
        The axis that sums to 1.
    base : float, optional
        Of the logarithm: above 0, not 1. Nats by default; 2 for bits.

    Returns
    -------
    float64 scalar or ndarray, shape of `p` without `axis`
        From 0 to the logarithm of the number of outcomes, which is the entropy of the uniform
        distribution.

    Raises
    ------
    TypeError
        `p` holds something other than numbers.
    ValueError
        `p` has a negative number, a NaN, or a sum that is not 1; the first place is named. The axis
        or the base is none.

    References
    ----------
    C. E. Shannon, "A Mathematical Theory of Communication" (1948), section 6; Dive into Deep
    Learning, section 22.11.2.

    Examples
    --------
    >>> from softstep.information import entropy
    >>> entropy([[0.25, 0.25, 0.25, 0.25], [0.5, 0.125, 0.125, 0.25]], base=2)
    array([2.  , 1.75])
    """
    log = logarithm(base)
    distributions = as_distributions("p", p, axis)
    with np.errstate(under="ignore"):
        terms = distributions * log(np.where(distributions > 0, distributions, 1.0))
    return np.subtract(0.0, terms.sum(axis=-1))[()]
