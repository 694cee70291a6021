"""Benchmarks of softstep beside its peers, every result checked before it is timed.

Peers are NumPy always, and PyTorch, JAX, SciPy and scikit-learn where they are installed. The cases
are in `benches.cases`; two programs run them, both from the root of the project::

    pytest benches --benchmark-enable                  # statistics, a group per case
    pytest benches --benchmark-enable -k "softmax and vocabulary"
    pytest benches                                     # no timing: each result once, checked
    python -m benches.ratios                           # one table: each peer's time over ours
    python -m benches.ratios train_step softmax/mnist --json

Cases on MNIST look for its files as `softstep.MNIST` does; set ``SOFTSTEP_DATA`` to their folder.
``SOFTSTEP_BENCH_THREADS`` sets how many threads, and processors, everybody may use; 2 by default.
Machines are shared, so only ratios measured in the same run mean something.
"""
