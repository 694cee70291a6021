"""The base class of models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from softstep.hyperparameters import HyperParameters
from softstep.models.checks import check_integer
from softstep.models.parameter import Parameter
from softstep.optimizers import SGD

__all__ = ["Module"]

Self = TypeVar("Self", bound="Module")


class Module(HyperParameters):
    """A model: what it computes, its loss, and the gradients of that loss.

    A subclass defines ``forward(x)``, ``loss(y_hat, y)`` and ``backward(batch)``. There is no
    automatic differentiation: ``backward`` computes the gradient of the batch's loss with respect
    to each parameter and leaves it in ``parameter.grad``. Attributes that are parameters, modules,
    or lists of either, are found by `parameters`.

    Parameters
    ----------
    seed : int, default 0
        Of the initialisation; at least 0.

    Attributes
    ----------
    lr : float
        The learning rate that `configure_optimizers` uses; set by the subclass.
    training : bool
        Whether the model is being trained; see `train` and `eval`.
    threads : int or None
        How many threads its kernels use at the most; None follows `softstep.threads`. A trainer
        sets it while it runs.
    board : ProgressBoard or None
        Where `plot` draws; made by it if there is none.
    plot_train_per_epoch, plot_valid_per_epoch : float
        How many points of each curve `plot` draws in an epoch: 2 and 1.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import Module, Parameter
    >>> class Mean(Module):
    ...     def __init__(self):
    ...         self.lr, self.w = 0.5, Parameter([0.0])
    ...     def forward(self, x):
    ...         return np.full(len(x), self.w.data)
    ...     def loss(self, y_hat, y):
    ...         return 0.5 * np.mean((y_hat - y) ** 2)
    ...     def backward(self, batch):
    ...         x, y = batch
    ...         self.w.accumulate(np.mean(self(x) - y, keepdims=True))
    >>> model, batch = Mean(), (np.zeros((4, 1), np.float32), np.full(4, 8, np.float32))
    >>> optimizer = model.configure_optimizers()
    >>> model.backward(batch)
    >>> optimizer.step()
    >>> model.w.data
    array([4.], dtype=float32)
    """

    # On the class, so that a subclass whose __init__ does not call this one works, too.
    lr: float
    seed: int = 0
    training: bool = True
    threads: int | None = None
    board: Any = None
    plot_train_per_epoch: float = 2
    plot_valid_per_epoch: float = 1

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = check_integer("seed", seed, 0)

    # What a subclass defines

    def forward(self, x: Any) -> Any:
        """Compute the model's output for features."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(x)")

    def loss(self, y_hat: Any, y: Any) -> Any:
        """Compute the loss of outputs, given the targets."""
        raise NotImplementedError(f"{type(self).__name__} defines no loss(y_hat, y)")

    def backward(self, batch: Any) -> None:
        """Leave the gradient of the batch's loss in each parameter's ``grad``."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no backward(batch). softstep has no automatic "
            "differentiation: compute the gradient of the loss with respect to each parameter and "
            "leave it in parameter.grad"
        )

    # What a trainer calls

    def __call__(self, *inputs: Any) -> Any:
        """Return ``forward(*inputs)``."""
        return self.forward(*inputs)

    def training_step(self, batch: Any) -> Any:
        """Return the loss of a training batch (features..., targets)."""
        return self.loss(self(*batch[:-1]), batch[-1])

    def validation_step(self, batch: Any) -> Any:
        """Return what is measured on a validation batch: ``{"loss": ...}``, a mean over its rows.

        A number is taken as the loss. ``"accuracy"`` is recorded, too.
        """
        return {"loss": self.loss(self(*batch[:-1]), batch[-1])}

    def configure_optimizers(self) -> Any:
        """Return the optimizer: `SGD` with the learning rate ``self.lr`` by default."""
        return SGD(self.parameters(), self.lr)

    def train(self: Self, mode: bool = True) -> Self:
        """Say that training begins, to this model and those inside of it; return the model."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Say that training has ended, to this model and those inside of it; return the model."""
        return self.train(False)

    # Parameters

    def named_parameters(self) -> dict[str, Parameter]:
        """Return the parameters under their attributes' names, in order; each of them once."""
        found = _walk("", self, {id(self)})
        return {name: value for name, value in found if isinstance(value, Parameter)}

    def parameters(self) -> list[Parameter]:
        """Return the parameters, in the order in which they became attributes."""
        return list(self.named_parameters().values())

    def require_data(self) -> None:
        """Raise RuntimeError if the model has parameters without values."""
        if not all(parameter.is_initialized for parameter in self.parameters()):
            raise RuntimeError(
                f"this {type(self).__name__} has seen no data, so it has no parameters yet: "
                "fit it, call it on a batch, or load it"
            )

    def modules(self) -> list[Module]:
        """Return the module itself and the modules inside of it; each of them once."""
        return [
            self,
            *(value for _, value in _walk("", self, {id(self)}) if isinstance(value, Module)),
        ]

    # What happens on the way

    def layer_shapes(self, x_shape: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of the output of each layer, for features of a shape.

        The layers are those of the list ``net``, if the model has one, else the model itself; zeros
        are sent through them. A subclass may know better.
        """
        net = getattr(self, "net", None)
        x: Any = np.zeros(x_shape, np.float32)
        for layer in net if isinstance(net, (list, tuple)) else [self]:
            x = layer(x)
            yield getattr(layer, "__name__", type(layer).__name__), np.shape(x)

    def layer_summary(self, x_shape: tuple[int, ...]) -> None:
        """Print the layers and the shapes of their outputs.

        Parameters
        ----------
        x_shape : tuple of int
            The shape of a batch of features, (N, K) or (N, ...).

        Raises
        ------
        TypeError, ValueError
            It is no such shape.

        References
        ----------
        A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 7.6.

        Examples
        --------
        >>> from softstep import MLP
        >>> MLP(num_outputs=10, num_hiddens=256, lr=0.1).layer_summary((1, 1, 28, 28))
        Flatten output shape: (1, 784)
        Linear output shape:  (1, 256)
        ReLU output shape:    (1, 256)
        Linear output shape:  (1, 10)
        """
        shape = tuple(check_integer("x_shape[...]", n, 0) for n in x_shape)
        if len(shape) < 2:
            raise ValueError(f"x_shape is {shape}; accepted: (N, K), or (N, ...) for images")
        lines = [(f"{name} output shape:", out) for name, out in self.layer_shapes(shape)]
        width = max((len(name) for name, _ in lines), default=0)
        for name, out in lines:
            print(f"{name:{width}} {out}")

    def plot(self, key: str, value: Any, train: bool) -> None:
        """Draw a point of a curve, from a ``training_step`` or ``validation_step`` of one's own.

        Parameters
        ----------
        key : str
            What is drawn: the curve is called ``train_`` or ``val_`` and this.
        value : float
        train : bool
            Whether it is of a training batch, drawn at its place in the epoch and averaged so that
            `plot_train_per_epoch` points are drawn in an epoch, or of a validation batch, drawn at
            the end of the epoch, `plot_valid_per_epoch` times.

        Raises
        ------
        RuntimeError
            No trainer is fitting the model.

        References
        ----------
        A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.2.

        Examples
        --------
        >>> from softstep import Digits, ProgressBoard, SoftmaxRegression, Trainer
        >>> class Plotted(SoftmaxRegression):
        ...     def training_step(self, batch):
        ...         loss = super().training_step(batch)
        ...         self.plot("loss", loss, train=True)
        ...         return loss
        >>> model = Plotted(10, lr=0.5)
        >>> model.board = ProgressBoard(xlabel="epoch", display=False)
        >>> history = Trainer(max_epochs=3).fit(model, Digits())
        >>> [round(point.x, 1) for point in model.board.data["train_loss"]]
        [0.2, 0.7, 1.2, 1.7, 2.1, 2.6]
        """
        trainer = vars(self).get("trainer")
        if trainer is None:
            raise RuntimeError("plot draws while a trainer fits the model: call it in a step")
        if self.board is None:
            from softstep.training.board import ProgressBoard  # above this storey: only when asked

            self.board = ProgressBoard(xlabel="epoch")
        batches = (trainer.num_train_batches if train else trainer.num_val_batches) or 1
        points = self.plot_train_per_epoch if train else self.plot_valid_per_epoch
        place = trainer.epoch_step / batches if train else 1.0
        self.board.draw(
            trainer.epoch + place,
            float(value),
            f"{'train' if train else 'val'}_{key}",
            every_n=max(1, int(batches / points)),
        )

    # Files

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments that make a model like this one, for `save`.

        Numbers, strings, booleans, None, and lists and dictionaries of these. What
        `save_hyperparameters` has kept, unless a subclass says otherwise.
        """
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.hparams.items()
        }

    def accept_parameters(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Take parameters from a file.

        Raises
        ------
        ValueError
            Names, shapes or dtypes are not those of this model; nothing has been changed then.
        """
        mine = self.named_parameters()
        if set(values) != set(mine):
            raise ValueError(f"the parameters are {sorted(values)}; accepted: {sorted(mine)}")
        for name, parameter in mine.items():
            if parameter.is_initialized:
                check_parameter(name, values[name], parameter.shape, parameter.dtype)
        for name, parameter in mine.items():
            parameter.data, parameter.grad = values[name], None

    @classmethod
    def check_file(
        cls, hyperparameters: Mapping[str, Any], values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Raise ValueError if a file's hyperparameters and parameters cannot be of one model.

        Called before the model is made: a constructor that allocates its parameters must not be
        made to allocate what the file does not hold. The base class accepts everything.
        """

    def training_state(self) -> dict[str, Any]:
        """Return what training changes besides the parameters, for a checkpoint.

        For example how many batches were seen, if that decides on random numbers. Values as
        `hyperparameters` returns, and float32 and float64 arrays.
        """
        return {}

    def accept_training_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `training_state` has returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is not of such a model.
        """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the model as a safetensors file; see `softstep.save`."""
        from softstep.models.serialization import save

        save(self, path)

    @classmethod
    def load(cls: type[Self], path: str | os.PathLike[str]) -> Self:
        """Load a model that `save` has written; see `softstep.load`.

        Raises
        ------
        ModelFileError
            Besides what `softstep.load` says: the file holds a model of another class.
        """
        from softstep.models.serialization import load_as

        return load_as(cls, path)


def check_parameter(
    name: str, value: NDArray[Any], shape: tuple[int | None, ...], dtype: np.dtype[Any]
) -> None:
    """Raise ValueError unless an array has the shape (None: any length) and the dtype."""
    fits = len(value.shape) == len(shape) and all(
        expected in (None, length) for length, expected in zip(value.shape, shape, strict=True)
    )
    if not fits or value.dtype != dtype:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} is {value.dtype} {value.shape}; accepted: {dtype} ({wanted})")


def _walk(prefix: str, owner: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield parameters and modules that a module or list holds, outer ones first, each once."""
    items = vars(owner).items() if isinstance(owner, Module) else enumerate(owner)
    for key, value in items:
        if not isinstance(value, (Parameter, Module, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", value
        if not isinstance(value, Parameter):
            yield from _walk(f"{prefix}{key}.", value, seen)
