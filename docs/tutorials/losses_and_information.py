"""Losses and information: what a loss measures, and how to compute it without losing digits."""

# %% [markdown]
# # Losses and information
#
# A classifier is trained on the cross-entropy because that is what its answers cost: the
# information that is missing when the label is told. This page begins with information, arrives at
# the losses of *Deep Learning from Scratch* (chapter 4) and *Dive into Deep Learning* (section
# 4.1), and ends with the reason why losses are computed from logits.

# %%
import numpy as np
from matplotlib.figure import Figure

from softstep import information, losses, plotting
from softstep.kernels import softmax
from softstep.numerical import number_formats, numerical_gradient

# %% [markdown]
# ## Information
#
# Who tells one of $s$ equally likely choices, $n$ times, tells $n \log_2 s$ bits (Hartley). An
# event of probability $p$ carries $-\log p$, its surprisal: what is certain tells nothing. With
# `base=2` the unit is the bit, by default it is the nat.

# %%
print("five coins:", information.hartley(5, 2), "bits")
print(f"one nat: {information.surprisal(np.exp(-1), base=2):.4f} bits")

# %% Surprisal falls from infinity at probability 0 to 0 at probability 1
p = np.linspace(0.005, 1, 200)
plotting.plot(p, information.surprisal(p, base=2), "probability", "surprisal in bits")

# %% [markdown]
# The entropy of a distribution is its mean surprisal, $H(p) = -\sum_j p_j \log p_j$. It is largest
# where all outcomes are equally likely. A coin that always shows heads has none.

# %%
uniform = np.full(4, 0.25)
skewed = np.array([1 / 2, 1 / 8, 1 / 8, 1 / 4])
print("uniform over 4:", information.entropy(uniform, base=2), "bits")
print("skewed:        ", information.entropy(skewed, base=2), "bits")

# %% The entropy of a coin: an arch from 0 over 1 bit for a fair coin to 0
heads = np.linspace(0, 1, 201)
coins = np.stack([heads, 1 - heads], axis=1)
plotting.plot(heads, information.entropy(coins, base=2), "probability of heads", "entropy in bits")

# %% [markdown]
# ## Cross-entropy and divergence
#
# Somebody who believes in $q$ while $p$ is true is surprised by $H(p, q) = -\sum_j p_j \log q_j$ on
# average, never by less than the entropy. The difference is the Kullback-Leibler divergence.

# %%
print("entropy of p:        ", information.entropy(skewed, base=2))
print("cross-entropy, q:    ", information.cross_entropy(skewed, uniform, base=2))
print("divergence:          ", round(information.kl_divergence(skewed, uniform, base=2), 12))
print("q excludes what is:  ", information.kl_divergence(uniform, [0.5, 0.5, 0, 0]))

# %% Entropy stays, cross-entropy lies above it and touches it where belief and truth agree
truth = [0.3, 0.7]
q = np.linspace(0.01, 0.99, 197)
beliefs = np.stack([q, 1 - q], axis=1)
crossed = information.cross_entropy(np.tile(truth, (len(q), 1)), beliefs, base=2)
plotting.plot(
    q,
    [crossed, np.full(len(q), information.entropy(truth, base=2))],
    "believed probability (the true one is 0.3)",
    "bits",
    legend=["cross-entropy", "entropy"],
    ylim=(0, 4),
)

# %% [markdown]
# Mutual information says what one variable tells about another: the divergence of their joint
# distribution from the product of its margins. A channel that flips one bit in ten:

# %%
joint = np.array([[0.45, 0.05], [0.05, 0.45]])
print(f"told by the received bit: {information.mutual_information(joint, base=2):.3f} bits")

# %% [markdown]
# ## Losses of probabilities
#
# With a one-hot target the cross-entropy is $-\log$ of the probability that the right class got.
# The two answers of the book's example give the right class 0.6 and 0.1:

# %%
target = np.eye(10)[2]
good = np.array([0.1, 0.05, 0.6, 0, 0.05, 0.1, 0, 0.1, 0, 0])
bad = np.array([0.1, 0.05, 0.1, 0, 0.05, 0.1, 0, 0.6, 0, 0])
for name, answer in (("good", good), ("bad", bad)):
    print(
        f"{name}: half the sum of squares {losses.mean_squared_error(answer, target):.4f}, "
        f"cross-entropy {losses.cross_entropy_error(answer, target):.9f}"
    )

# %% [markdown]
# Class indices do as well as one-hot rows, and a batch gives the mean of its rows:

# %%
batch = np.array([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
print(f"{losses.cross_entropy_error(batch, [0, 2]):.4f}")
print(f"{losses.cross_entropy_error(batch, [[1, 0, 0], [0, 0, 1]]):.4f}")

# %% [markdown]
# Squares are bounded, so that an answer that is certain and wrong costs little more than one that
# is merely wrong. The cross-entropy has no such bound:

# %% Cross-entropy grows without bound as the right class gets less, the squared error levels off
right = np.linspace(0.005, 1, 200)
answers = np.stack([right, 1 - right], axis=1)
squares = [losses.mean_squared_error(answer, [1, 0]) for answer in answers]
plotting.plot(
    right,
    [losses.negative_log_likelihood(answers, np.zeros(200, int), reduction="none"), squares],
    "probability of the right class",
    "loss",
    legend=["cross-entropy", "half the sum of squares"],
)

# %% [markdown]
# The mean negative log-likelihood is the same number under its statistical name, and perplexity its
# exponential: the number of equally likely classes that would be as surprising.

# %%
print(f"negative log-likelihood: {losses.negative_log_likelihood(batch, [0, 2]):.4f}")
print(f"log-likelihood:          {losses.log_likelihood(batch, [0, 2]):.4f}")
print(f"perplexity:              {losses.perplexity(batch, [0, 2]):.4f}")

# %% [markdown]
# ## Softmax
#
# Models give logits; softmax makes probabilities of them, keeps their order, and does not change
# when all logits are shifted. With two classes it is the sigmoid of their difference. A temperature
# above 1 makes it more even, one below 1 more certain:

# %% Softmax of the same logits at three temperatures, from peaked to flat
logits = np.array([2.0, 1.0, 0.2, -1.0, -0.5])
figure = Figure(figsize=(4.5, 3.2), layout="constrained")
ax = figure.subplots()
for i, T in enumerate((0.4, 1.0, 4.0)):
    ax.bar(np.arange(5) + 0.27 * (i - 1), softmax(logits, temperature=T), 0.25, label=f"T = {T:g}")
ax.set(xlabel="class", ylabel="probability")
ax.legend(frameon=False)
figure

# %%
z = np.array([1.5, -0.3])
print(f"{softmax(z)[0]:.6f} {losses.sigmoid(z[0] - z[1]):.6f} {softmax(z + 100)[0]:.6f}")

# %% [markdown]
# ## From logits, not from probabilities
#
# A probability below the smallest number becomes 0, and its logarithm is lost. The book adds a
# small $10^{-7}$; then no loss exceeds 16.1, and beyond that the gradient is gone. From logits the
# loss is $\log \sum_k e^{z_k} - z_t$, with the maximum taken out of the sum, and nothing is lost:

# %%
for margin in (5.0, 20.0, 200.0, 10_000.0):
    z = np.array([margin, 0.0])
    wrong, correct = losses.cross_entropy(z, 1), losses.cross_entropy(z, 0)
    via_probabilities = losses.cross_entropy_error(softmax(z), 1)
    print(
        f"margin {margin:7.0f}: wrong {wrong:10.4f}, by probabilities {via_probabilities:7.4f}; "
        f"correct {correct:.3e}"
    )

# %% [markdown]
# Its gradient is as simple as can be, softmax minus target:

# %%
z = np.array([1.0, -0.5, 0.3])
by_differences = numerical_gradient(lambda z: losses.cross_entropy(z, 2), z)
print(by_differences.round(6))
print((softmax(z) - np.eye(3)[2]).round(6))

# %% [markdown]
# ## What exp survives
#
# Where overflow and underflow begin depends on the number format. The table is computed from the
# formats' bits: between the two last columns exp neither loses digits nor overflows. A scale moves
# the window of int8 but does not widen it.

# %%
print(number_formats())
