"""The likelihood of labels under predictions, and what is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep.kernels._arrays import Reduction, as_array
from softstep.losses._targets import check_classes, reduced, row_losses
from softstep.losses.classes import cross_entropy

__all__ = ["log_likelihood", "negative_log_likelihood", "perplexity"]


def negative_log_likelihood(
    p: ArrayLike, t: ArrayLike, *, from_logits: bool = False, reduction: Reduction = "mean"
) -> Any:
    r"""Negative log-likelihood of labels, :math:`-\sum_k t_k \log p_k` of each row.

    Minimising it is maximising the likelihood of the labels. It is the cross-entropy.

    Parameters
    ----------
    p : array_like, (C,) or (N, C)
        Probabilities of the classes, each row a distribution; or logits, see `from_logits`.
    t : array_like, integer or (N,) of any integer dtype; or the shape of `p`
        The class of each row, or a distribution over its classes.
    from_logits : bool, default False
        Whether `p` holds logits, which need not be normalised. More exact than probabilities made
        of them.
    reduction : {"mean", "sum", "none"}
        The mean over the rows, their sum, or the value of each row.

    Returns
    -------
    scalar or ndarray (N,)
        float64; of the dtype of the logits, if these are given. inf where a class that occurs has
        probability 0. The mean over no rows is NaN.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `cross_entropy_error`; for logits, as `cross_entropy`.

    References
    ----------
    Dive into Deep Learning, section 4.1.2.1.

    Examples
    --------
    >>> from softstep.losses import negative_log_likelihood
    >>> float(negative_log_likelihood([[1.0, 0.0], [0.0, 1.0]], [0, 1]))
    0.0
    """
    if from_logits:
        logits, labels = as_array("p", p), as_array("t", t)
        if labels.shape == logits.shape[:-1]:
            check_classes(labels, logits.shape[-1])  # none is ignored here
        return cross_entropy(p, t, reduction=reduction)
    losses, single = row_losses("p", p, t, np.log)
    return reduced(losses, single, reduction)


def log_likelihood(
    p: ArrayLike, t: ArrayLike, *, from_logits: bool = False, reduction: Reduction = "sum"
) -> Any:
    r"""Log-likelihood of labels, :math:`\sum_k t_k \log p_k`, summed over the rows.

    The logarithm of the probability of all labels together, if rows are independent.

    Parameters
    ----------
    p : array_like, (C,) or (N, C)
    t : array_like, integer or (N,) of any integer dtype; or the shape of `p`
    from_logits : bool, default False
    reduction : {"sum", "mean", "none"}
        As `negative_log_likelihood`, but the sum by default.

    Returns
    -------
    scalar or ndarray (N,)
        At most 0; -inf where a class that occurs has probability 0.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `negative_log_likelihood`.

    References
    ----------
    Dive into Deep Learning, section 4.1.2.1.

    Examples
    --------
    >>> from softstep.losses import log_likelihood
    >>> round(float(log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 0])), 6)  # log 1/8
    -2.079442
    """
    loss = negative_log_likelihood(p, t, from_logits=from_logits, reduction=reduction)
    return loss.dtype.type(0) - loss


def perplexity(p: ArrayLike, t: ArrayLike, *, from_logits: bool = False) -> Any:
    r"""Perplexity of predictions, the exponential of the mean negative log-likelihood.

    1 for certain and right predictions, C for uniform ones.

    Parameters
    ----------
    p : array_like, (C,) or (N, C)
    t : array_like, integer or (N,) of any integer dtype; or the shape of `p`
    from_logits : bool, default False
        As `negative_log_likelihood`.

    Returns
    -------
    scalar
        At least 1, inf where a class that occurs has probability 0.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `negative_log_likelihood`.

    References
    ----------
    Dive into Deep Learning, section 9.3.2.

    Examples
    --------
    >>> from softstep.losses import perplexity
    >>> round(float(perplexity([[0.25, 0.25, 0.25, 0.25]] * 3, [0, 1, 3])), 12)
    4.0
    """
    with np.errstate(over="ignore"):
        return np.exp(negative_log_likelihood(p, t, from_logits=from_logits))
