"""Softmax regression on images: from scratch, on the kernels, and what it has learnt."""

# %% [markdown]
# # Softmax regression on images
#
# Ten digits, 60,000 small pictures, one linear layer. We write the model in NumPy, train it, train
# it again on the kernels, and look at what it has learnt and at what it takes for what (chapter 4
# of *Dive into Deep Learning*).
#
# The four files of MNIST are read from the folder `mnist` in `$SOFTSTEP_DATA` (or in `root=`). If
# they are nowhere, `download=True` fetches them, 12 MB. `softstep.FashionMNIST` in place of
# `softstep.MNIST` gives the clothes of the book; everything else stays as it is.

# %%
import tempfile
import time
from pathlib import Path

import numpy as np

import softstep
from softstep import plotting

# %% [markdown]
# ## Data
#
# Batches are float32 in [0, 1]. The bytes of the files are converted batch by batch, or not at all:
# the fused training reads them as they are.

# %%
data = softstep.MNIST(batch_size=256, download=True)
X, y = next(iter(data.train_dataloader()))
print("training rows:", len(data.train), "validation rows:", len(data.val))
print("a batch:", X.shape, X.dtype, y.shape, y.dtype)
print("in the range:", X.min(), "to", X.max())

# %% The first sixteen pictures of a batch with their labels
data.visualize((X, y), nrows=2, ncols=8)

# %% [markdown]
# ## The pieces
#
# The logits of a picture are $\mathbf o = \mathbf W^\top \mathbf x + \mathbf b$, one for each
# class, and softmax makes probabilities of them. The maximum is subtracted first, or else exp
# overflows:


# %%
def softmax(X):
    X_exp = np.exp(X - X.max(axis=1, keepdims=True))
    return X_exp / X_exp.sum(axis=1, keepdims=True)


def cross_entropy(Y_hat, y):
    return -np.log(Y_hat[np.arange(len(y)), y])


rng = np.random.default_rng(0)
W, b = rng.normal(0, 0.01, (784, 10)), np.zeros(10)
Y_hat = softmax(X.reshape(-1, 784) @ W + b)
print("rows sum to 1:", np.allclose(Y_hat.sum(axis=1), 1))
print(f"loss of a model that knows nothing: {cross_entropy(Y_hat, y).mean():.2f}")
print(f"of ten equal probabilities: {np.log(10):.2f}")

# %% [markdown]
# The gradient of the loss with respect to the logits is the probabilities minus the one-hot labels.
# From there it is a matrix product to the weights, and a step of descent is three lines:

# %%
error = Y_hat.copy()
error[np.arange(len(y)), y] -= 1
W -= 0.1 * X.reshape(-1, 784).T @ error / len(y)
b -= 0.1 * error.mean(axis=0)
Y_hat = softmax(X.reshape(-1, 784) @ W + b)
print(f"after one step: {cross_entropy(Y_hat, y).mean():.2f}")

# %% [markdown]
# ## From scratch
#
# `SoftmaxRegressionScratch` is these lines as a model.

# %%
scratch = softstep.SoftmaxRegressionScratch(num_inputs=784, num_outputs=10, lr=0.1)
trainer = softstep.Trainer(max_epochs=10)
start = time.perf_counter()
history = trainer.fit(scratch, data)
seconds_scratch = time.perf_counter() - start
print(f"validation accuracy: {history[-1].val_accuracy:.3f}")

# %% The losses and the validation accuracy of ten epochs
plotting.plot_history(history)

# %% [markdown]
# ## On the kernels
#
# `SoftmaxRegression` learns the same. Its epochs run in native code, without a copy of the rows and
# without Python between the minibatches.

# %%
model = softstep.SoftmaxRegression(num_outputs=10, lr=0.1)
start = time.perf_counter()
history = trainer.fit(model, data)
seconds = time.perf_counter() - start
print(f"validation accuracy: {history[-1].val_accuracy:.3f}")
print("fused:", trainer.fused)

# %% tags=["varies"]
print(f"from scratch {seconds_scratch:.1f} s, on the kernels {seconds:.1f} s for ten epochs")

# %% [markdown]
# ## What it takes for what
#
# Above a picture stands what it shows, then what the model takes it for and with which probability.

# %% Sixteen pictures that the model takes for something else, with both labels
plotting.show_errors(model, data)

# %% The confusion matrix: 2 is most often taken for 8, 4 and 9 for each other
plotting.show_confusion(plotting.confusion_of(model, data), data.labels)

# %% [markdown]
# ## What it has learnt
#
# A class has one weight for each pixel, so weights are pictures, too. Blue speaks for the class,
# red against it: ink in the middle speaks against a 0.

# %% The weights of each class as pictures, in which most digits can be recognised
plotting.show_weights(model, data.labels)

# %% [markdown]
# ## The learning rate

# %% Validation accuracy over the epochs for four learning rates
histories = softstep.compare_learning_rates(
    lambda lr: softstep.SoftmaxRegression(10, lr), data, lrs=[0.001, 0.01, 0.1, 1.0], max_epochs=10
)
plotting.plot_learning_rates(histories, "val_accuracy")

# %% [markdown]
# ## Validation and test
#
# Whoever chooses the learning rate or the number of epochs by the validation accuracy must measure
# on other rows in the end. `val_size` holds rows of the training set out for validation; the test
# rows are read once, after all choices. `EarlyStopping` ends the training when the validation has
# not become better for three epochs, and brings the best parameters back.

# %%
held_out = softstep.MNIST(batch_size=256, val_size=5000, download=True)
best = softstep.EarlyStopping(monitor="val_accuracy", patience=3)
trainer = softstep.Trainer(max_epochs=30, callbacks=[best])
model = softstep.SoftmaxRegression(num_outputs=10, lr=0.1)
trainer.fit(model, held_out)
print("rows:", len(held_out.train), len(held_out.val), len(held_out.test))
print(f"best validation accuracy: {best.best:.3f}")
print(f"test accuracy: {softstep.evaluate(model, held_out.on_test()).accuracy:.3f}")

# %% [markdown]
# ## Keeping the model
#
# Models are saved as safetensors, which hold arrays and a few words and execute nothing when they
# are loaded.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "digits.safetensors")
    model.save(path)
    print("bytes:", path.stat().st_size)
    again = softstep.load(path)

X, y = next(iter(data.val_dataloader()))
print("is:  ", data.text_labels(y[:6]))
print("pred:", data.text_labels(again.predict(X[:6])))
