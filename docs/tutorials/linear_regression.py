"""Linear regression: data with known parameters, descent from scratch and on the kernels."""

# %% [markdown]
# # Linear regression
#
# A linear model predicts $\hat y = \mathbf{w}^\top \mathbf{x} + b$. We make data whose weights and
# bias we know, find them again by minibatch descent, first in plain NumPy and then on softstep's
# kernels, and compare with the closed form. The steps are those of chapter 3 of *Dive into Deep
# Learning*.

# %%
import numpy as np
from matplotlib.figure import Figure

import softstep
from softstep import plotting
from softstep.numerical import check_gradient, least_squares

# %% [markdown]
# ## Data
#
# $y = 2 x_0 - 3.4 x_1 + 4.2$ and a little noise, 1000 rows for training and 1000 for validation. A
# data module gives loaders of minibatches; they can be read again and again, each epoch in another
# order.

# %%
data = softstep.SyntheticRegressionData(w=[2, -3.4], b=4.2, noise=0.01, batch_size=32)
X, y = next(iter(data.train_dataloader()))
print("a batch:", X.shape, y.shape)
print("batches in an epoch:", len(data.train_dataloader()))

# %% The targets over each feature: a falling band over x1, a wider rising one over x0
figure = Figure(figsize=(8, 3), layout="constrained")
for k, ax in enumerate(figure.subplots(1, 2, sharey=True)):
    ax.plot(data.X[:1000, k], data.y[:1000], ".", markersize=3)
    ax.set(xlabel=f"$x_{k}$", ylabel="y" if k == 0 else "")
figure

# %% [markdown]
# ## From scratch
#
# `LinearRegressionScratch` is NumPy that reads like the book: `forward` is `X @ w + b`, `loss` half
# the mean squared error. There is no automatic differentiation, so the model also has a `backward`
# that writes the gradient down:
#
# $$\nabla_{\mathbf w} L = \frac{1}{|B|} \sum_{i \in B} (\hat y_i - y_i)\, \mathbf{x}_i, \qquad
# \nabla_b L = \frac{1}{|B|} \sum_{i \in B} (\hat y_i - y_i).$$

# %%
scratch = softstep.LinearRegressionScratch(num_inputs=2, lr=0.03)
trainer = softstep.Trainer(max_epochs=3)
history = trainer.fit(scratch, data)


def show_errors(w, b):
    error = data.w.ravel() - np.ravel(w)
    print(f"error of w: {error[0]:.3f}, {error[1]:.3f}; of b: {data.b - b.item():.3f}")


show_errors(scratch.w.data, scratch.b.data)

# %% [markdown]
# The errors are no accident. The features are nearly uncorrelated and have variance 1, so a step
# with learning rate 0.03 takes 3 % of what is missing, and after 96 steps $0.97^{96} = 5.4\,\%$
# of each parameter is still missing:

# %%
left = (1 - 0.03) ** 96
print(f"expected: {left * 2:.3f}, {left * -3.4:.3f} and {left * 4.2:.3f}")

# %% The loss of each epoch on training and validation rows, falling by powers of ten
plotting.plot_history(history, yscale="log")

# %% [markdown]
# The training loss is the mean over an epoch in which the model improves; the validation loss is
# measured after it. That is why the second one is smaller.
#
# ## On the kernels
#
# `LinearRegression` has no `num_inputs`: it looks at the first batch. Its loss has no factor 1/2,
# so the same learning rate goes twice as far, and 96 steps leave $0.94^{96} = 0.26\,\%$.

# %%
model = softstep.LinearRegression(lr=0.03)
history = trainer.fit(model, data)
show_errors(*model.get_w_b())

# %% [markdown]
# ## Closed form
#
# Linear regression is one of the few models whose minimum can be written down. What remains is the
# noise of the data:

# %%
w, b = least_squares(data.X[:1000], data.y[:1000])
show_errors(w, b)

# %% [markdown]
# ## The learning rate
#
# Too small, and nothing happens; too large, and every step overshoots. With features of variance 1
# and no factor 1/2, a step multiplies the error by about $1 - 2\eta$: the whole way at once at 0.5,
# and from $\eta = 1$ on errors grow. Minibatches differ from each other, so that 0.99 is too much
# already.

# %% The validation loss over the epochs, for five learning rates
histories = softstep.compare_learning_rates(
    lambda lr: softstep.LinearRegression(lr), data, lrs=[0.001, 0.01, 0.1, 0.5, 0.99], max_epochs=8
)
plotting.plot_learning_rates(histories)

# %% [markdown]
# ## Too many features: weight decay
#
# 20 rows and 200 features: the model can fit the training rows exactly and learn nothing. The
# penalty $\frac{\lambda}{2} \lVert \mathbf w \rVert^2$ keeps the weights small.

# %% Validation loss with and without weight decay: lower with it, and still falling
few = softstep.SyntheticRegressionData(
    w=np.full(200, 0.01), b=0.05, num_train=20, num_val=100, batch_size=5
)
losses = {}
for lambd in (0, 3):
    decay = softstep.WeightDecayScratch(num_inputs=200, lambd=lambd, lr=0.01)
    history = softstep.Trainer(max_epochs=10).fit(decay, few)
    losses[f"$\\lambda = {lambd}$"] = [record.val_loss for record in history]
    norm = np.sum(decay.w.data**2)
    print(f"lambda {lambd}: validation loss {history[-1].val_loss:.3f}, |w|^2 = {norm:.4f}")
plotting.plot(np.arange(1, 11), list(losses.values()), "epoch", "validation loss", list(losses))

# %% [markdown]
# ## A model of one's own
#
# A `Module` defines `forward`, `loss` and `backward`. Here is regression with the absolute error,
# whose gradient is a sign, so that a few wild targets do no harm. `check_gradient` compares the
# gradient written down with the one by differences.


# %%
class AbsoluteRegression(softstep.Module):
    def __init__(self, num_inputs, lr):
        super().__init__()
        self.save_hyperparameters()
        self.w = softstep.Parameter(np.zeros((num_inputs, 1)))
        self.b = softstep.Parameter(np.zeros(1))

    def forward(self, X):
        return X @ self.w.data + self.b.data

    def loss(self, y_hat, y):
        return np.abs(y_hat - y).mean()

    def backward(self, batch):
        X, y = batch
        sign = np.sign(self(X) - y) / len(y)
        self.w.accumulate(X.T @ sign)
        self.b.accumulate(sign.sum(axis=0))


robust = AbsoluteRegression(num_inputs=2, lr=0.05)
robust.backward((X, y))
error = check_gradient(lambda w: robust.loss(robust(X), y), robust.w.grad, robust.w)
print(f"largest relative error of the gradient: {error:.0e}")

# %% [markdown]
# One target in twenty is replaced by 100. The squared error is led astray, the absolute one is not:

# %%
wild = data.y[:1000].copy()
wild[::20] = 100
spoilt = softstep.ArrayDataModule(data.X[:1000], wild, batch_size=32)
squared = softstep.LinearRegression(lr=0.03)
robust = AbsoluteRegression(num_inputs=2, lr=0.05)
for each in (squared, robust):
    softstep.Trainer(max_epochs=10).fit(each, spoilt)
show_errors(*squared.get_w_b())
show_errors(robust.w.data, robust.b.data)
