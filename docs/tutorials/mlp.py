"""A multilayer perceptron: why layers need something between them, and what they gain."""

# %% [markdown]
# # A multilayer perceptron
#
# Softmax regression draws straight lines between its classes. With a hidden layer and a function
# that is not linear behind it, the lines may bend. We look at that in two dimensions, write the
# model in NumPy, and train it on handwritten digits, with early stopping and dropout (chapter 5 of
# *Dive into Deep Learning*).
#
# The four files of MNIST are read from the folder `mnist` in `$SOFTSTEP_DATA`; if they are nowhere,
# `download=True` fetches them, 12 MB.

# %%
import numpy as np

import softstep
from softstep import plotting
from softstep.losses import sigmoid

# %% [markdown]
# ## What stands between the layers
#
# Two linear layers after each other are one linear layer: $(\mathbf x \mathbf W_1) \mathbf W_2 =
# \mathbf x (\mathbf W_1 \mathbf W_2)$. An activation function between them changes that.

# %% ReLU, sigmoid and tanh
x = np.linspace(-4, 4, 161)
curves = [np.maximum(x, 0), sigmoid(x), np.tanh(x)]
plotting.plot(x, curves, "x", "activation", legend=["ReLU", "sigmoid", "tanh"], ylim=(-1.2, 2.5))

# %% [markdown]
# Three rings of points show the difference. No straight line separates them:

# %% Softmax regression cuts three rings with straight lines and is mostly wrong
rng = np.random.default_rng(1)
y = rng.integers(0, 3, 600)
angle, radius = rng.uniform(0, 2 * np.pi, 600), 0.5 + y + rng.normal(0, 0.12, 600)
rings = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
circles = softstep.ArrayDataModule(rings, y, batch_size=32)
linear = softstep.SoftmaxRegression(num_outputs=3, lr=0.1)
softstep.Trainer(max_epochs=60).fit(linear, circles)
print(f"share of the points that are right: {(linear.predict(rings) == y).mean():.2f}")
plotting.decision_boundaries(linear, rings, y)

# %% A hidden layer of 32 units bends the boundaries around the rings
model = softstep.MLP(num_outputs=3, num_hiddens=32, lr=0.1)
softstep.Trainer(max_epochs=60).fit(model, circles)
print(f"share of the points that are right: {(model.predict(rings) == y).mean():.2f}")
plotting.decision_boundaries(model, rings, y)

# %% [markdown]
# Without an activation the same layers are softmax regression again:

# %%
plain = softstep.MLP(num_outputs=3, num_hiddens=32, lr=0.1, activation=None)
softstep.Trainer(max_epochs=60).fit(plain, circles)
print(f"share of the points that are right: {(plain.predict(rings) == y).mean():.2f}")

# %% [markdown]
# ## From scratch
#
# `MLPScratch` is the model in NumPy: forward is two products with a ReLU between them, backward
# goes through them in the other direction. The essence of its `backward`:
#
# ```text
# error = softmax(H @ W2 + b2) - Y          # gradient of the logits
# dW2, db2 = H.T @ error, error.sum(axis=0)
# error = error @ W2.T * (H > 0)            # back through the ReLU
# dW1, db1 = X.T @ error, error.sum(axis=0)
# ```

# %%
data = softstep.MNIST(batch_size=256, download=True)
scratch = softstep.MLPScratch(num_inputs=784, num_outputs=10, num_hiddens=256, lr=0.1, sigma=0.05)
history = softstep.Trainer(max_epochs=1).fit(scratch, data)
print(f"validation accuracy after one epoch: {history[-1].val_accuracy:.2f}")

# %% [markdown]
# ## On the kernels
#
# `MLP` takes any number of hidden layers. It infers the number of inputs at the first batch;
# `layer_summary` shows the shapes.

# %%
model = softstep.MLP(num_outputs=10, num_hiddens=256, lr=0.5, sigma=0.01)
model.layer_summary((256, 1, 28, 28))

# %% Loss and accuracy of a hidden layer of 256 units over three epochs
trainer = softstep.Trainer(max_epochs=3)
history = trainer.fit(model, data)
print(f"validation accuracy: {history[-1].val_accuracy:.3f}")
plotting.plot_history(history)

# %% [markdown]
# Softmax regression ends near 0.92. The hidden units look for strokes and arcs, blue where they
# want ink and red where they do not:

# %% The weights of the first sixteen hidden units as pictures
plotting.show_weights(model, num_rows=2, num_cols=8, scale=1.0)

# %% The first sixteen digits that are taken for another one
plotting.show_errors(model, data)

# %% [markdown]
# ## Early stopping and dropout
#
# With 3000 training rows the model soon knows them by heart, and the validation loss stops falling.
# Dropout leaves half of the hidden units out of each training step, other ones every time.
# `EarlyStopping` keeps the best epoch. It looks at rows held out from training; the test rows are
# read once, at the end.

# %%
(x_train, t_train), (x_test, t_test) = softstep.load_mnist()
few = softstep.ArrayDataModule(
    x_train[:3000], t_train[:3000], x_train[-2000:], t_train[-2000:], batch_size=64
)
histories = {}
for name, dropout in (("no dropout", 0.0), ("dropout 0.5", 0.5)):
    best = softstep.EarlyStopping(monitor="val_loss", patience=4)
    model = softstep.MLP(num_outputs=10, num_hiddens=256, lr=0.3, dropout=dropout)
    histories[name] = softstep.Trainer(max_epochs=20, callbacks=[best]).fit(model, few)
    accuracy = (model.predict(x_test) == t_test).mean()
    print(f"{name}: validation loss {best.best:.2f}, test accuracy {accuracy:.3f}")

# %% The validation loss with and without dropout: with dropout it falls further
plotting.plot_learning_rates(histories, "val_loss")
