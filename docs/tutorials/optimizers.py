"""Optimizers on surfaces: derivatives, descent, and the optimizers where descent is hard."""

# %% [markdown]
# # Optimizers on surfaces
#
# Training is descent on a surface that nobody can see. Here are surfaces that one can see:
# functions of two variables, with the paths that the optimizers take on them. The first half
# follows chapter 4 of *Deep Learning from Scratch*, the second one chapter 6 and chapter 12 of
# *Dive into Deep Learning*.

# %%
import numpy as np

import softstep
from softstep import plotting
from softstep.numerical import gradient_descent, minimize, numerical_diff, numerical_gradient

# %% [markdown]
# ## Derivatives by differences
#
# The central difference $(f(x + h) - f(x - h)) / 2h$ is off by a term in $h^2$, where the forward
# difference is off by one in $h$.


# %%
def parabola(x):
    return 0.01 * x**2 + 0.1 * x


print(f"{numerical_diff(parabola, 5):.9f} {numerical_diff(parabola, 10):.9f}")

# %% A parabola and the straight line that touches it at x = 5
plotting.tangent(parabola, 5, xlim=(0, 20))

# %% [markdown]
# The gradient of a function of several variables is one derivative for each. Its negative points
# where the function falls fastest; in a round bowl, to the minimum.


# %%
def bowl(x):
    return x[0] ** 2 + x[1] ** 2


print(numerical_gradient(bowl, np.array([3.0, 4.0])).round(9))

# %% Arrows of the negative gradient point to the minimum and are longer further away
plotting.quiver(bowl)

# %% [markdown]
# ## Gradient descent
#
# $\mathbf x \leftarrow \mathbf x - \eta \nabla f(\mathbf x)$. In this bowl each step multiplies
# $\mathbf x$ by $1 - 2\eta$: with $\eta = 0.1$, 20 steps leave $0.8^{20} = 1.2\,\%$ of the way.

# %% Descent in the round bowl goes straight to the minimum, in steps that become smaller
x, path = gradient_descent(bowl, [-3.0, 4.0], lr=0.1, step_num=20)
print("end:", x.round(4), "expected:", (np.array([-3.0, 4.0]) * 0.8**20).round(4))
plotting.contour(bowl, path)

# %% [markdown]
# The learning rate decides: a small one crawls, 0.95 jumps from side to side, and above 1 every
# step leads further away.

# %% The distance from the minimum for four learning rates; one grows
rates = (0.01, 0.1, 0.95, 1.05)
paths = [gradient_descent(bowl, [-3.0, 4.0], lr=lr, step_num=30)[1] for lr in rates]
plotting.plot(
    np.arange(31),
    [np.linalg.norm(path, axis=1) for path in paths],
    "step",
    "distance from the minimum",
    legend=[f"learning rate {lr}" for lr in rates],
    yscale="log",
)

# %% [markdown]
# ## A valley
#
# $f(\mathbf x) = x_0^2 / 100 + x_1^2$ is curved a hundred times more across than along. A learning
# rate that is as large as the steep direction allows is small for the other. Momentum adds up the
# small but constant slope along the valley; the adaptive optimizers divide each direction by the
# size of its own gradients. `minimize` runs any optimizer on a function instead of a model.


# %%
def valley(x):
    return x[0] ** 2 / 100 + x[1] ** 2


def compare(f, start, steps, settings):
    paths = {}
    for name, lr in settings.items():
        end, paths[name] = minimize(f, start, name, steps, lr=lr)
        print(f"{name:9s} f after {steps} steps: {f(end):.2e}")
    return paths


# %% Descent in a narrow valley: SGD zigzags and stays behind, momentum and the adaptive ones arrive
settings = {"sgd": 0.9, "momentum": 0.3, "rmsprop": 0.1, "adam": 0.3}
paths = compare(valley, [-7.0, 2.0], 60, settings)
plotting.descent_paths(valley, paths, yscale="log")

# %% [markdown]
# ## A saddle
#
# $f(\mathbf x) = (x_0^2 - 1)^2 + x_1^2$ has minima at $x_0 = \pm 1$ and between them a saddle,
# where the gradient vanishes. Beginning almost on the ridge, SGD goes down to the saddle and has
# next to no slope to leave it by. The adaptive optimizers take steps of about the learning rate
# however small the gradient is, and leave at once.


# %%
def saddle(x):
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2


# %% SGD stays at the saddle for forty steps, momentum overshoots, RMSprop and Adam never stop there
settings = {"sgd": 0.05, "momentum": 0.05, "rmsprop": 0.05, "adam": 0.05}
paths = compare(saddle, [1e-4, 1.5], 60, settings)
plotting.descent_paths(saddle, paths, xlim=(-1.5, 1.5), ylim=(-1.5, 1.8))

# %% [markdown]
# ## A plateau
#
# Far from its minimum this function is almost flat, like the loss of saturated sigmoids. Where the
# gradient is $10^{-3}$, SGD takes steps of $10^{-3}$ times the learning rate.


# %%
def plateau(x):
    return 1 - np.exp(-(x[0] ** 2 + x[1] ** 2) / 2)


# %% On the plateau SGD hardly moves, the adaptive optimizers walk down
settings = {"sgd": 0.1, "momentum": 0.1, "rmsprop": 0.1, "adam": 0.1}
paths = compare(plateau, [-3.0, 2.0], 80, settings)
plotting.descent_paths(plateau, paths, xlim=(-3.6, 1.6), ylim=(-1.6, 2.8))

# %% [markdown]
# ## Schedules
#
# A learning rate may change while the training goes on: large at first, small at the end, and with
# a warm-up before. A schedule is a function of the number of the epoch (or of the step), and
# `Trainer(callbacks=[softstep.LearningRateSchedule(schedule)])` follows it.

# %% Four schedules over thirty epochs: constant, steps, half a cosine, and that after a warm-up
schedules = {
    "constant": softstep.ConstantLR(0.5),
    "step": softstep.StepLR(0.5, every=10, factor=0.3),
    "cosine": softstep.CosineLR(0.5, count=30),
    "warm-up, then cosine": softstep.WarmUp(softstep.CosineLR(0.5, count=25), count=5),
}
epochs = np.linspace(0, 29.99, 600)
plotting.plot(
    epochs,
    [[schedule(int(epoch)) for epoch in epochs] for schedule in schedules.values()],
    "epoch",
    "learning rate",
    legend=list(schedules),
    ylim=(0, 0.95),  # room for the legend
)

# %% [markdown]
# ## On a model
#
# The same optimizers on softmax regression and the handwritten digits that come with the package.
# `Trainer` takes an optimizer by its name or as a function of the parameters.

# %% The validation loss of softmax regression on the digits, for five optimizers
data = softstep.Digits(batch_size=64)
histories = {}
for name, lr in {
    "sgd": 0.1,
    "momentum": 0.1,
    "nesterov": 0.1,
    "rmsprop": 0.01,
    "adam": 0.01,
}.items():
    model = softstep.SoftmaxRegression(num_outputs=10, lr=lr)
    trainer = softstep.Trainer(max_epochs=15, optimizer=name)
    histories[f"{name}, {lr}"] = trainer.fit(model, data)
    print(f"{name:9s} validation accuracy {trainer.history[-1].val_accuracy:.3f}")
plotting.plot_learning_rates(histories, yscale="log")
