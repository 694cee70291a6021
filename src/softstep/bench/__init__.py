"""The cases of ``softstep bench``: softstep beside its peers, every result checked before timing.

Peers are NumPy always, and SciPy, scikit-learn, PyTorch and JAX where they are installed. Two
programs run the same cases: the command ``softstep bench``, which prints one table, and
pytest-benchmark on the folder ``benches`` of the project. Nothing here is imported by
``import softstep``.

- `case`: what a case is, and the check of its results
- `cases`: all of them, a module per room
- `peers`, `bounds`: other libraries, and how far float32 results may be off
- `limits`: what the machine can do at most
- `runner`, `results`, `table`, `command`: timing in turns, what follows from it, how it is shown
"""
