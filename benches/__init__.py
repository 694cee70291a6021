"""The cases of `softstep.bench` under pytest-benchmark, a group per case with every peer in it.

From the root of the project::

    pytest benches --benchmark-enable                  # statistics
    pytest benches --benchmark-enable -k "softmax and vocabulary"
    pytest benches                                     # no timing: each result once, checked

``softstep bench`` prints the same cases as one table. ``SOFTSTEP_BENCH_THREADS`` sets how many
threads, and processors, everybody may use; 2 by default.
"""
