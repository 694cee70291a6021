"""Data sets: arrays of equal length whose rows are read a batch at a time."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Protocol, SupportsIndex, TypeAlias, overload, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep.data.mapped import MappedFiles
from softstep.kernels._arrays import as_array, as_dtype, as_targets, cast
from softstep.kernels.gather_rows import gather_into

__all__ = ["ArrayDataset", "Arrays", "Batch", "Dataset", "IndexedDataset", "at_epoch"]

Batch: TypeAlias = tuple[NDArray[Any], ...]
"""A batch: one array per array of the data set, usually (X, y)."""

Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any], Any, Any]
"""Raw rows (n, K), targets (n,) or (n, C), scale and shift (None, a scalar or (K,))."""

Empty: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Gives an array of a shape and dtype whose values do not matter, as `numpy.empty`."""

_WIDE = 512  # bytes of a row of targets; what is shorter NumPy brings together as fast

# The types of batches of features, and of the features that the fused kernels read.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_RAW_TYPES = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.float16), *_FLOATS)


@runtime_checkable
class Dataset(Protocol):
    """What a `DataLoader` needs: a length, and a batch of the rows it names."""

    def __len__(self) -> int: ...

    def take(self, rows: slice | NDArray[np.int64]) -> Batch:
        """Return the batch of these rows, as arrays of its own (no views of the data).

        Parameters
        ----------
        rows : slice or (B,) int64 ndarray
            Which rows, in this order.
        """
        ...


def contiguous_rows(x: NDArray[Any]) -> bool:
    """Whether the kernels read rows where they lie; others would be copied, all of them."""
    return x.dtype.isnative and x.flags.aligned and x[:1].flags.c_contiguous


def at_epoch(dataset: Any, epoch: int) -> Any:
    """Return a data set as it is in an epoch; most are the same in all."""
    method = getattr(dataset, "at_epoch", None)
    return dataset if method is None else method(epoch)


class IndexedDataset:
    """What data sets have in common: indexing, from a length and ``take(rows)``."""

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} defines no __len__()")

    def take(self, rows: slice | NDArray[np.int64]) -> Batch:
        """Return the batch of these rows."""
        raise NotImplementedError(f"{type(self).__name__} defines no take(rows)")

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Batch: ...
    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        """One row (X, y) for an integer, a batch for a slice, a list or an array of rows."""
        if isinstance(index, slice):
            return self.take(index)
        if isinstance(index, (list, np.ndarray)) and np.ndim(index) == 1:
            rows = np.asarray(index)
            if rows.dtype == np.bool_:
                if len(rows) != len(self):
                    raise IndexError(f"a mask must have {len(self)} values, got {len(rows)}")
                rows = np.flatnonzero(rows)
            elif rows.size and rows.dtype.kind not in "iu":
                raise TypeError(f"index must hold integers or booleans, got {rows.dtype}")
            return self.take(rows.astype(np.int64, copy=False))
        try:
            row = operator.index(index)
        except TypeError:
            raise TypeError(
                f"index must be an integer, a slice or a list of rows, got {type(index).__name__}"
            ) from None
        if not -len(self) <= row < len(self):
            raise IndexError(f"index {row} is out of range for {len(self)} rows")
        row %= len(self)
        return tuple(array[0] for array in self.take(slice(row, row + 1)))


class ArrayDataset(IndexedDataset):
    """Arrays of equal length, in memory or memory-mapped, without a copy of most.

    Parameters
    ----------
    *arrays : array_like
        The features, then usually the targets; the same length each. A file opened with
        ``np.load(..., mmap_mode="r")`` or ``np.memmap`` stays on disk and is read batch by batch.
        Features in memory whose rows are not contiguous, such as those of a Fortran-ordered array,
        or of foreign byte order, are copied once: later changes of them are not seen.
    scale, shift : float or (K,) array_like, optional
        Feature batches are ``x * scale + shift``, K being the number of features of a row.
    dtype : dtype, optional
        The type of feature batches, float32 or float64. Default: float64 for float64 features, else
        float32 with ``scale`` or ``shift``, else that of the features.
    item_shape : tuple of int, optional
        The shape of one row's features in a batch; default: as they are.

    Raises
    ------
    TypeError
        An array holds neither numbers nor booleans.
    ValueError
        The lengths differ, or ``scale``, ``shift``, ``dtype`` or ``item_shape`` does not fit.

    Notes
    -----
    Integer targets (at most 64 bits, signed) come out as int64, whatever they are kept in.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0, 255], [51, 102]], dtype=np.uint8)
    >>> data = ArrayDataset(x, np.array([0, 1]), scale=1 / 255)
    >>> len(data)
    2
    >>> X, y = data[:2]
    >>> X.dtype, X.shape, y.tolist()
    (dtype('float32'), (2, 2), [0, 1])
    """

    def __init__(
        self,
        *arrays: ArrayLike,
        scale: ArrayLike | None = None,
        shift: ArrayLike | None = None,
        dtype: DTypeLike | None = None,
        item_shape: tuple[int, ...] | None = None,
    ) -> None:
        if not arrays:
            raise ValueError("arrays must not be empty: give the features, then the targets")
        self.tensors: Batch = tuple(_numbers(i, array) for i, array in enumerate(arrays))
        lengths = [len(array) for array in self.tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"arrays must have the same length, got {lengths}")
        features = self.tensors[0]
        if not contiguous_rows(features) and not MappedFiles((features,)):
            features = np.array(features, features.dtype.newbyteorder("="), order="C")
            self.tensors = (features, *self.tensors[1:])
        self.item_shape = features.shape[1:] if item_shape is None else tuple(item_shape)
        if math.prod(self.item_shape) != math.prod(features.shape[1:]):
            raise ValueError(
                f"item_shape must hold the {math.prod(features.shape[1:])} features of a row, "
                f"got {self.item_shape}"
            )
        if dtype is None:
            plain = scale is None and shift is None
            dtype = features.dtype if plain or features.dtype == np.float64 else np.float32
        elif as_dtype(dtype) not in _FLOATS:
            raise ValueError(f"dtype must be float32 or float64, got {as_dtype(dtype)}")
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.files = MappedFiles(self.tensors)
        self.scale = self._per_feature("scale", scale)
        self.shift = self._per_feature("shift", shift)

    def _per_feature(self, name: str, value: ArrayLike | None) -> Any:
        """Give a scalar or (K,) array of the batches' type."""
        if value is None:
            return None
        array = np.asarray(value)
        count = math.prod(self.item_shape)
        if array.dtype.kind not in "iuf" or array.shape not in ((), (count,)):
            raise ValueError(
                f"{name} must be a number or an array of shape ({count},), "
                f"got {array.dtype} of shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
        return cast(name, array, self.dtype)[()]

    def _for_each_feature(self) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """Return scale and shift as the kernel takes them."""
        scale, shift = self.scale, self.shift
        if scale is None and shift is not None:
            scale = 1.0
        count = math.prod(self.item_shape)
        return (
            None if scale is None else np.full(count, scale, self.dtype),
            None if shift is None else np.full(count, shift, self.dtype),
        )

    def __len__(self) -> int:
        return len(self.tensors[0])

    @property
    def is_mapped(self) -> bool:
        """Whether an array is mapped from a file."""
        return bool(self.files)

    def take(self, rows: slice | NDArray[np.int64]) -> Batch:
        """Return the batch of these rows: new arrays, float features and int64 labels.

        Parameters
        ----------
        rows : slice or (B,) int64 ndarray
            Which rows, in this order.

        Returns
        -------
        tuple of ndarray
            Features ``(B, *item_shape)``, then targets (B, ...).

        Raises
        ------
        IndexError
            A row is out of range.
        TypeError, ValueError
            ``rows`` holds no integers, or is no list of them.
        DataFileError
            A file that an array is mapped from has shrunk or changed since the data set was made.
        """
        return self.take_into(rows, np.empty)

    def take_into(self, rows: slice | NDArray[np.int64], empty: Empty) -> Batch:
        """Return the batch of these rows, wide arrays in memory that ``empty`` gives.

        Parameters
        ----------
        rows : slice or (B,) int64 ndarray
            Which rows, in this order.
        empty : callable
            As `numpy.empty`, which is what `take` uses: ``empty(shape, dtype)`` gives an array.

        Returns
        -------
        tuple of ndarray
            As from `take`, whose errors it raises.
        """
        self.files.check()
        if not isinstance(rows, slice):
            rows = as_targets("rows", rows)
            if rows.ndim != 1:
                raise ValueError(f"rows has the shape {rows.shape}; accepted: (B,)")
        features, *targets = self.tensors
        return (self._features(features, rows, empty), *(_targets(t, rows, empty) for t in targets))

    def _features(
        self, features: NDArray[Any], rows: slice | NDArray[np.int64], empty: Empty
    ) -> NDArray[Any]:
        found = None
        plain = self.dtype == features.dtype and self.scale is None and self.shift is None
        if plain or features.dtype in _RAW_TYPES:
            found = _gathered(features, rows, empty, self.dtype, *self._for_each_feature())
        x = self._computed(features, rows) if found is None else found
        return x.reshape(len(x), *self.item_shape)

    def _computed(self, features: NDArray[Any], rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        fresh = not isinstance(rows, slice)
        x = _rows(features, rows)
        flat = x.reshape(len(x), math.prod(self.item_shape))
        if not fresh or flat.dtype != self.dtype or not flat.flags.c_contiguous:
            flat = flat.astype(self.dtype, order="C")
        if self.scale is not None:
            flat *= self.scale
        if self.shift is not None:
            flat += self.shift
        return flat

    def arrays(self) -> Arrays | None:
        """Return the raw rows for the fused path, without a copy: (x, y, scale, shift).

        Returns
        -------
        tuple or None
            ``x`` (n, K) uint8, int8, float16, float32 or float64 with contiguous rows, ``y`` the
            targets, scale, shift; None if there are not two arrays, or the features are of another
            type, or mapped in another byte order or layout: such data are trained on batch by
            batch.
        """
        if len(self.tensors) != 2:
            return None
        self.files.check()
        x, y = self.tensors
        if x.dtype not in _RAW_TYPES or not contiguous_rows(x):
            return None
        return x.reshape(len(x), math.prod(x.shape[1:])), y, self.scale, self.shift

    def __repr__(self) -> str:
        return f"ArrayDataset({', '.join(f'{a.dtype}{list(a.shape)}' for a in self.tensors)})"


def _numbers(position: int, array: ArrayLike) -> NDArray[Any]:
    result = as_array(f"array {position}", array)
    if result.dtype.kind not in "biuf":
        raise TypeError(f"array {position} must hold real numbers or booleans, got {result.dtype}")
    if result.ndim == 0:
        raise ValueError(f"array {position} must have rows, got a single number")
    return result


def _rows(array: NDArray[Any], rows: slice | NDArray[np.int64]) -> NDArray[Any]:
    """Give the rows: a view for a slice, new memory otherwise."""
    return array[rows] if isinstance(rows, slice) else array.take(rows, axis=0)


def _gathered(
    array: NDArray[Any],
    rows: slice | NDArray[np.int64],
    empty: Empty,
    dtype: np.dtype[Any],
    scale: NDArray[Any] | None = None,
    shift: NDArray[Any] | None = None,
) -> NDArray[Any] | None:
    """Return rows (B, K) from the kernel; None for rows that it does not take.

    Those are: of a layout that would have to be copied as a whole, and numbers counted from the
    end, or out of range.
    """
    x = array[rows] if isinstance(rows, slice) else array
    if not contiguous_rows(x):
        return None
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    order = None if isinstance(rows, slice) else rows
    out = empty((len(flat if order is None else order), flat.shape[1]), dtype)
    try:
        gather_into(out, flat, order, scale, shift)
    except IndexError:
        return None
    return out


def _targets(targets: NDArray[Any], rows: slice | NDArray[np.int64], empty: Empty) -> NDArray[Any]:
    """Copy; integers as int64, except uint64, which int64 cannot hold."""
    kind = targets.dtype.kind
    integers = kind in "bi" or (kind == "u" and targets.dtype.itemsize < 8)
    dtype = np.dtype(np.int64) if integers else targets.dtype.newbyteorder("=")
    if targets.dtype == dtype and targets[:1].nbytes >= _WIDE:
        found = _gathered(targets, rows, empty, dtype)
        if found is not None:
            return found.reshape(len(found), *targets.shape[1:])
    return _rows(targets, rows).astype(dtype, copy=isinstance(rows, slice))
