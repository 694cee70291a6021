"""A parameter: an array that is learned, and the gradient of the loss with respect to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Parameter"]


class Parameter:
    """An array that an optimizer changes in place, and its gradient.

    Parameters
    ----------
    data : array_like of float32 or float64, optional
        An array that is C-contiguous, aligned, writable and of native byte order is kept, not
        copied; others are copied. Lists become float32. Without `data` the parameter exists but has
        no values yet: its model gives them at the first batch, when it knows their shape.
    grad : array_like, shape and dtype of `data`, optional
        The gradient; None when there is none.

    Attributes
    ----------
    data : ndarray
        The values. RuntimeError while there are none.
    grad : ndarray or None
        What `SGD` reads.

    Raises
    ------
    TypeError
        `data` holds something other than float32 or float64.
    ValueError
        `grad` has another shape than `data`.

    Examples
    --------
    >>> from softstep import Parameter
    >>> p = Parameter([1.0, 2.0])
    >>> p.shape, p.dtype, p.grad
    ((2,), dtype('float32'), None)
    """

    __slots__ = ("__weakref__", "_data", "grad")

    def __init__(self, data: ArrayLike | None = None, grad: ArrayLike | None = None) -> None:
        self._data: NDArray[Any] | None = None
        self.grad: NDArray[Any] | None = None
        if data is not None:
            self.data = data  # type: ignore[assignment]
        if grad is not None:
            gradient = np.asarray(grad, dtype=self.data.dtype)
            if gradient.shape != self.data.shape:
                raise ValueError(
                    f"grad has the shape {gradient.shape}; accepted: {self.data.shape}, as data"
                )
            self.grad = gradient

    @property
    def data(self) -> NDArray[Any]:
        """The values."""
        if self._data is None:
            raise RuntimeError(
                "this parameter has no values yet: its shape is known once its model has seen data"
            )
        return self._data

    @data.setter
    def data(self, value: NDArray[Any]) -> None:
        array = np.asarray(value)
        if not isinstance(value, np.ndarray) and array.dtype == np.float64:
            array = array.astype(np.float32)
        native = array.dtype.newbyteorder("=")
        if native not in (np.float32, np.float64):
            raise TypeError(f"data has the dtype {array.dtype}; accepted: float32, float64")
        usable = array.dtype.isnative and array.flags.carray  # contiguous, aligned, writable
        self._data = array if usable else np.array(array, dtype=native, order="C")

    @property
    def is_initialized(self) -> bool:
        """Whether there are values."""
        return self._data is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.data.dtype

    def accumulate(self, grad: NDArray[Any]) -> None:
        """Add a gradient, in the dtype of `data`, to the one that is there.

        The first one is kept without a copy if it has that dtype already.
        """
        grad = np.asarray(grad, self.dtype)
        self.grad = grad if self.grad is None else self.grad + grad

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values, so that NumPy functions take a parameter as an array."""
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy and array is self._data else array

    def __repr__(self) -> str:
        return f"Parameter({self._data!r})" if self.is_initialized else "Parameter(no values yet)"
