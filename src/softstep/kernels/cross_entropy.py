"""Cross-entropy of logits with class indices or distributions, and its gradient in one pass."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    Reduction,
    as_array,
    as_float,
    as_numbers,
    as_real,
    as_targets,
    check_apart,
    check_reduction,
    exactly,
    reduced,
)
from softstep.runtime import resolve_threads

ByProduct = Literal["row_loss", "logsumexp", "predicted", "correct"]


class ByProducts(NamedTuple):
    """What a pass of `cross_entropy` gives away besides the loss; None where not asked for.

    Parameters
    ----------
    row_loss, logsumexp, predicted, correct
        The attributes of these names.
    """

    row_loss: Array | None = None
    """(N,), dtype of the logits: the loss of each row, as ``reduction="none"`` gives it."""
    logsumexp: Array | None = None
    """(N,), dtype of the logits: of every row, ignored or not."""
    predicted: Array | None = None
    """(N,), int64: the class of the largest logit, the first of equals; -1 where a logit is NaN."""
    correct: int | None = None
    """How many rows that are not ignored are predicted right (the target, or its first maximum)."""


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    byproducts: Sequence[ByProduct] = (),
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of logits with class indices or distributions.

    With the class weights :math:`w`, the sample weights :math:`s`, the label smoothing
    :math:`\varepsilon` and a target that lays the mass

    .. math:: u_{ij} = w_j \left((1 - \varepsilon)\, p_{ij} + \varepsilon / C\right)

    on class j (:math:`p_{ij} = [j = t_i]` for a class index), the loss of a row is
    :math:`s_i \sum_j u_{ij} (\log \sum_k \exp(x_{ik}) - x_{ij})`. A class of mass 0 contributes 0,
    also where its logit is -inf.

    Parameters
    ----------
    logits : array_like, (N, C), float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order.
    target : array_like, (N,) of any integer dtype, or (N, C) of numbers
        The class of each row, 0 to C - 1, or `ignore_index` (copied if not int64); or a
        distribution over the classes of each row (copied if not in the dtype of `logits`): not
        negative, with a sum within the square root of eps of 1, that of its own dtype or of the
        logits', the larger one. What is not C-contiguous and aligned is copied, too.
    class_weight : array_like, (C,), optional
        Weights of the classes: finite, not negative. Copied if not in the dtype of `logits`.
    sample_weight : array_like, (N,), optional
        Weights of the rows, likewise: finite, not negative. A row of weight 0 has loss and gradient
        0 unless its softmax is NaN: where it holds NaN or +inf, or nothing but -inf.
    ignore_index : int, default -100
        Rows with this index as target have loss 0 and do not count. Not for distributions.
    label_smoothing : float, default 0.0
        From 0 to 1: how much of each target is spread evenly over the classes.
    reduction : {"mean", "sum", "none"}
        The loss of each row, their sum, or the mean: their sum divided by the sum of the rows'
        weights. These are, for indices, the class weight of the target times the sample weight,
        over the rows that count; for distributions the sample weights, or N.
    byproducts : sequence of {"row_loss", "logsumexp", "predicted", "correct"}, optional
        What else is wanted from the pass, see `ByProducts`.
    out : ndarray, (N,), optional
        Where the row losses go; with ``reduction="none"`` only. The dtype of `logits`, no overlap
        with the inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    loss : scalar or ndarray (N,)
        Of the dtype of `logits`. The mean over no rows is NaN, their sum 0.
    byproducts : ByProducts
        Only if some were asked for.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Shapes that do not fit, no classes, an unknown reduction or by-product, a weight that is
        negative or not finite, a label smoothing outside 0 to 1, a row that is no distribution.
    IndexError
        A label that is neither a class nor `ignore_index`; the first such row is named.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.108; label smoothing:
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision* (2016), section 7.

    Examples
    --------
    >>> from softstep.kernels import cross_entropy
    >>> print(f"{cross_entropy([[20.0, 0.0]], [0]):.8e}")
    2.06115362e-09
    >>> loss, found = cross_entropy([[2.0, 0.0], [0.0, 2.0]], [0, 0], byproducts=["correct"])
    >>> found.correct
    1
    """
    if out is not None and reduction != "none":
        check_reduction(reduction)
        raise ValueError(f"out is given with reduction={reduction!r}; accepted with 'none' only")
    loss, _, more = _run(
        logits, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction,
        byproducts, out, None, False, threads,
    )  # fmt: skip
    return loss if more is None else (loss, more)


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    byproducts: Sequence[ByProduct] = (),
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy and its gradient with respect to the logits, in one pass.

    With the mass :math:`u` of `cross_entropy` the gradient of a row is
    :math:`s_i (\sum_k u_{ik}\, \mathrm{softmax}(x_i)_j - u_{ij})`; for a class index t without
    weights and smoothing that is :math:`\mathrm{softmax}(x_i)_j - [j = t]`, whose entry at t is
    minus the sum of the others, also where the probability rounds to 1.

    Parameters
    ----------
    logits : array_like, (N, C), float32 or float64
    target : array_like, (N,) of any integer dtype, or (N, C) of numbers
    class_weight : array_like, (C,), optional
    sample_weight : array_like, (N,), optional
    ignore_index : int, default -100
        Rows with this target have loss 0 and a gradient of exactly 0, whatever their logits.
    label_smoothing : float, default 0.0
    reduction : {"mean", "sum", "none"}
        As `cross_entropy`; with "none" the gradient is that of the sum.
    byproducts : sequence of {"row_loss", "logsumexp", "predicted", "correct"}, optional
        What else is wanted from the pass, see `ByProducts`.
    out : ndarray, (N, C), optional
        Where the gradient goes: dtype of `logits`, C-contiguous, aligned, writable. May be `logits`
        itself, which is then overwritten; may not overlap the inputs otherwise.
    threads : int, optional

    Returns
    -------
    loss : scalar or ndarray (N,)
    dlogits : ndarray (N, C)
    byproducts : ByProducts
        Only if some were asked for.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `cross_entropy`, before anything is written.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.109.

    Examples
    --------
    >>> from softstep.kernels import cross_entropy_with_grad
    >>> loss, dlogits = cross_entropy_with_grad([[0.0, 0.0], [0.0, 0.0]], [0, 1])
    >>> dlogits
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    >>> loss, dlogits = cross_entropy_with_grad([[0.0, 0.0]], [[0.25, 0.75]])
    >>> dlogits
    array([[ 0.25, -0.25]])
    """
    loss, dlogits, more = _run(
        logits, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction,
        byproducts, None, out, True, threads,
    )  # fmt: skip
    return (loss, dlogits) if more is None else (loss, dlogits, more)


def _run(
    logits: ArrayLike,
    target: ArrayLike,
    class_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    byproducts: Sequence[ByProduct],
    losses_out: Array | None,
    gradient_out: Array | None,
    gradient: bool,
    threads: int | None,
) -> tuple[Any, Any, ByProducts | None]:
    # A small minibatch takes microseconds, so the usual case passes by what it does not need.
    x = as_float("logits", logits)
    t = target if type(target) is np.ndarray else as_array("target", target)
    given, ignored = t.dtype, as_index(ignore_index)
    t = as_numbers("target", t, x.dtype) if t.ndim == 2 else as_targets("target", t, ignored)
    tolerance = sum_tolerance(given, x.dtype) if t.ndim == 2 else 0.0
    losses, dlogits, out, w, s, lse, predicted = (
        losses_out,
        None,
        losses_out,
        None,
        None,
        None,
        None,
    )
    wanted = frozenset(by_product_names(byproducts)) if byproducts else ()
    if check_reduction(reduction) == "none" or "row_loss" in wanted:
        losses = np.empty(x.shape[:1], x.dtype) if losses_out is None else losses_out
    if gradient:
        out = gradient_out
        dlogits = np.empty(x.shape, x.dtype) if gradient_out is None else gradient_out
    if class_weight is not None:
        w = as_numbers("class_weight", class_weight, x.dtype)
        check_apart(out, "class_weight", class_weight, w)
    if sample_weight is not None:
        s = as_numbers("sample_weight", sample_weight, x.dtype)
        check_apart(out, "sample_weight", sample_weight, s)
    if out is not None and (x is not logits or t is not target or type(out) is not np.ndarray):
        check_apart(out, "logits", logits, x)
        check_apart(out, "target", target, t)
    if wanted:
        lse = np.empty(x.shape[:1], x.dtype) if "logsumexp" in wanted else None
        predicted = np.empty(x.shape[:1], np.int64) if "predicted" in wanted else None
    try:
        total, divisor, correct = _native.module.cross_entropy(
            losses,
            dlogits,
            lse,
            predicted,
            x,
            t,
            w,
            s,
            ignored,
            as_real("label_smoothing", label_smoothing),
            tolerance,
            reduction == "mean",
            "correct" in wanted,
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, target=target) from None
    loss = losses if reduction == "none" else reduced(total, divisor, reduction, x.dtype)
    if not wanted:
        return loss, dlogits, None
    rows = losses if "row_loss" in wanted else None
    return loss, dlogits, ByProducts(rows, lse, predicted, correct if "correct" in wanted else None)


def by_product_names(byproducts: Sequence[str]) -> Sequence[str]:
    """Return the names as a sequence, or raise TypeError or ValueError."""
    try:
        names = (byproducts,) if isinstance(byproducts, str) else tuple(byproducts)
    except TypeError:
        raise TypeError(f"byproducts is {byproducts!r}; accepted: names of by-products") from None
    for name in names:
        if not isinstance(name, str) or name not in ByProducts._fields:
            accepted = ", ".join(repr(field) for field in ByProducts._fields)
            raise ValueError(f"byproducts has {name!r}; accepted: any of {accepted}")
    return names


def as_index(ignore_index: int) -> int:
    """Return `ignore_index` as an int, or raise TypeError or ValueError."""
    try:
        index = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index is {ignore_index!r}; accepted: an integer") from None
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index is {index}; accepted: an integer of 64 bits")
    return index


def sum_tolerance(given: np.dtype[Any], dtype: np.dtype[Any]) -> float:
    """How far the sums of distributions given in a dtype may be from 1: root of the coarser eps."""
    if given.name == "bfloat16":
        return math.sqrt(2.0**-7)
    own = float(np.finfo(given).eps) if given.kind == "f" else 0.0
    return math.sqrt(max(own, float(np.finfo(dtype).eps)))
