# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""A shuffle that stores no permutation.

``permutation(n, seed, epoch)`` is a bijection of ``{0, ..., n - 1}`` that is computed, not stored:
any place of the order can be asked for at any time, in any order, by any process, and the answer
depends on ``n``, ``seed`` and ``epoch`` alone.

Construction
------------
*Key.* BLAKE2b (RFC 7693) of an unambiguous encoding of ``(n, seed, epoch)`` gives eight 64-bit words.
Seeds and epochs are integers of any size, and two triples share a key only if BLAKE2b collides.

*More than 256 rows.* The generalised Feistel cipher of Black and Rogaway [1]_ with cycle walking.
A place x of the domain Z_m x Z_(2^k), where ``2^k`` is about the square root of n and
``m = ceil(n / 2^k)``, is a pair (left, right) = (x >> k, x & (2^k - 1)). Eight rounds [2]_ alternate ::

    left  = (left  + F_j(right)) mod m
    right = (right + F_j(left))  mod 2^k

with ``F_j(v) = floor(h * bound / 2^64)`` of ``h = mix(word_j + v * golden)``, output number v of a
SplitMix64 generator [3]_ that starts at word j of the key. At most ``2^k - 1`` of the domain's places
lie outside of ``{0, ..., n - 1}``; a result that does is put in again until it is inside, which leaves
a bijection of what remains. The right half is a power of two, so that nothing is ever divided.

*At most 256 rows.* A Feistel cipher this small is told from a random order by statistics of a few ten
thousand orders, so the Fisher-Yates shuffle (algorithm P in [4]_) is run on the stack instead, its
draws taken from the same generators. All n! orders of the smallest n are equally frequent.

*Long slices.* The round functions have about ``8 * sqrt(n)`` values in all, so a slice longer than
that tabulates them first, in scratch memory that is gone when the call returns (a few thousand
entries at n = 60,000, inside the first-level cache). A table of a function of ``left`` is repeated
for the unreduced values that up to four additions give, so that ``mod m`` costs nothing; the last
table holds the reduced ``left`` beside the value of the function. Same values, fewer instructions.

.. [1] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, LNCS 2271, 114-130,
   methods 2 (cycle walking) and 3 (generalised Feistel).
.. [2] J. Patarin, "Security of random Feistel schemes with 5 or more rounds", CRYPTO 2004: from six
   rounds on, random functions are not told from a random permutation without about all of the domain.
.. [3] G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
.. [4] D. E. Knuth, "The art of computer programming", volume 2, section 3.4.2.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

import hashlib
import operator

import numpy as np

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15
cdef enum:
    ROUNDS = 8
    SMALL = 256           # up to here: Fisher-Yates
    TABLE_BITS = 16       # right halves of more bits are computed, never tabulated
    CHUNK = 1 << 20       # places between two looks for Ctrl-C, 50 ms at most

cdef struct Cipher:
    uint64_t n
    uint64_t m            # values of the left half
    uint64_t mask         # 2^k - 1, the largest right half
    int k
    uint64_t key[8]


cdef inline uint64_t draw(uint64_t key, uint64_t v) noexcept nogil:
    """Output v of the SplitMix64 generator that starts at key."""
    cdef uint64_t z = key + (v + 1) * GOLDEN
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline uint64_t bounded(uint64_t h, uint64_t bound) noexcept nogil:
    """floor(h * bound / 2^64) for bound <= 2^32, in 64-bit arithmetic."""
    return ((h >> 32) * bound + ((<uint64_t><uint32_t>h * bound) >> 32)) >> 32


cdef inline uint64_t add_mod(uint64_t a, uint64_t b, uint64_t m) noexcept nogil:
    """(a + b) mod m for a, b < m."""
    cdef uint64_t s = a + b
    return s - m if s >= m else s


cdef uint64_t encrypt(const Cipher* c, uint64_t x) noexcept nogil:
    """The place x of the domain, through the rounds until it is less than n."""
    cdef uint64_t left, right
    cdef int j
    while True:
        left = x >> c.k
        right = x & c.mask
        for j in range(0, ROUNDS, 2):
            left = add_mod(left, bounded(draw(c.key[j], right), c.m), c.m)
            right = (right + bounded(draw(c.key[j + 1], left), c.mask + 1)) & c.mask
        x = left << c.k | right
        if x < c.n:
            return x


cdef void deal(const Cipher* c, int64_t* deck) noexcept nogil:
    """Fisher-Yates, inside out: all of a permutation of at most SMALL rows."""
    cdef uint64_t i, j
    for i in range(c.n):
        j = bounded(draw(c.key[i & 7], i), i + 1)
        deck[i] = deck[j]
        deck[j] = <int64_t>i


cdef uint32_t* tabulate(const Cipher* c) noexcept nogil:
    """The tables, to be freed by the caller; NULL when there is no memory.

    left0, ..., left3 (by right; 2^k entries each), then right0, ..., right3 (by left < 2m, 3m, 4m, 5m).
    The entries of left_j lead from a place in right_(j-1) to one in right_j, so that one pointer
    serves all of these: with one for each the loop of fill_row runs out of registers.
    """
    cdef uint64_t m = c.m, size = c.mask + 1, v
    cdef uint32_t* table = <uint32_t*>malloc((4 * size + 14 * m) * sizeof(uint32_t))
    if table == NULL:
        return NULL
    cdef uint32_t* right0 = table + 4 * size
    cdef uint32_t* right1 = right0 + 2 * m
    cdef uint32_t* right2 = right1 + 3 * m
    cdef uint32_t* right3 = right2 + 4 * m
    for v in range(size):
        table[v] = <uint32_t>(bounded(draw(c.key[0], v), m) + 4 * size)
        table[v + size] = <uint32_t>(bounded(draw(c.key[2], v), m) + 2 * m)
        table[v + 2 * size] = <uint32_t>(bounded(draw(c.key[4], v), m) + 3 * m)
        table[v + 3 * size] = <uint32_t>(bounded(draw(c.key[6], v), m) + 4 * m)
    for v in range(m):
        right0[v] = <uint32_t>bounded(draw(c.key[1], v), size)
        right1[v] = <uint32_t>bounded(draw(c.key[3], v), size)
        right2[v] = <uint32_t>bounded(draw(c.key[5], v), size)
        right3[v] = <uint32_t>(v << c.k | bounded(draw(c.key[7], v), size))
    for v in range(m, 2 * m):
        right0[v] = right0[v - m]
    for v in range(m, 3 * m):
        right1[v] = right1[v - m]
    for v in range(m, 4 * m):
        right2[v] = right2[v - m]
    for v in range(m, 5 * m):
        right3[v] = right3[v - m]
    return table


cdef void fill_row(
    const Cipher* c, const uint32_t* table, uint32_t left, uint32_t begin, uint32_t end, int64_t* out
) noexcept nogil:
    """Places (left, begin), ..., (left, end - 1) through the tables."""
    cdef uint32_t n = <uint32_t>c.n, mask = <uint32_t>c.mask, place, a, b, e
    cdef const uint32_t* left1 = table + (mask + 1)
    cdef const uint32_t* left2 = left1 + (mask + 1)
    cdef const uint32_t* left3 = left2 + (mask + 1)
    for place in range(begin, end):
        a = left + table[place]
        b = (place + table[a]) & mask
        a += left1[b]
        b = (b + table[a]) & mask
        a += left2[b]
        b = (b + table[a]) & mask
        a += left3[b]
        e = table[a]
        e = (e & ~mask) | ((b + e) & mask)
        # Outside for one place in sqrt(n) or fewer: a branch that is foreseen costs nothing.
        out[place - begin] = e if e < n else <int64_t>encrypt(c, e)


cdef void fill(
    const Cipher* c, const uint32_t* table, uint64_t start, uint64_t count, int64_t* out
) noexcept nogil:
    """p[start], ..., p[start + count - 1]; table is NULL when there is none."""
    cdef uint64_t i, end, part
    cdef int64_t deck[SMALL]
    if c.n <= SMALL:
        deal(c, deck)
        for i in range(count):
            out[i] = deck[start + i]
    elif table == NULL:
        for i in range(count):
            out[i] = <int64_t>encrypt(c, start + i)
    else:
        end = start + count
        while start < end:
            part = min(c.mask + 1 - (start & c.mask), end - start)
            fill_row(c, table, <uint32_t>(start >> c.k), <uint32_t>(start & c.mask),
                     <uint32_t>((start & c.mask) + part), out)
            out += part
            start += part


cdef void fill_steps(
    const Cipher* c, uint64_t start, int64_t step, uint64_t count, int64_t* out
) noexcept nogil:
    """p[start], p[start + step], ...: count of them."""
    cdef uint64_t i, place = start
    cdef int64_t deck[SMALL]
    if c.n <= SMALL:
        deal(c, deck)
        for i in range(count):
            out[i] = deck[place]
            place += <uint64_t>step
    else:
        for i in range(count):
            out[i] = <int64_t>encrypt(c, place)
            place += <uint64_t>step


def _integer(name, value):
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer, got {type(value).__name__}"
        ) from None
    if value < 0:
        raise ValueError(f"{name} must be >= 0, got {value}")
    return value


cdef class Permutation:
    """The keyed pseudorandom order of ``n`` rows that `permutation` returns.

    It holds its key and nothing else. ``len(p)``, ``p[i]`` and ``p[a:b]`` (also with a step; a new int64
    array), iteration and ``np.asarray(p)`` behave as for an array that holds the order. Objects can be
    compared, hashed, copied, pickled, and used by several threads at once.

    Parameters
    ----------
    n : int
        The number of rows, 0 <= n < 2**63.
    seed, epoch : int
        Which order; integers >= 0 of any size.
    """

    cdef Cipher cipher
    cdef readonly object seed
    cdef readonly object epoch

    def __init__(self, n, seed, epoch):
        cdef Py_ssize_t j
        n = _integer("n", n)
        seed = _integer("seed", seed)
        epoch = _integer("epoch", epoch)
        if n > 0x7FFFFFFFFFFFFFFF:
            raise ValueError(f"n must be less than 2**63, got {n}")
        seed_bytes = seed.to_bytes((seed.bit_length() + 7) // 8, "little")
        epoch_bytes = epoch.to_bytes((epoch.bit_length() + 7) // 8, "little")
        digest = hashlib.blake2b(
            n.to_bytes(8, "little")
            + len(seed_bytes).to_bytes(8, "little")
            + seed_bytes
            + epoch_bytes,
            digest_size=64,
            person=b"softstep.perm.v1",
            usedforsecurity=False,
        ).digest()
        self.seed = seed
        self.epoch = epoch
        self.cipher.n = n
        self.cipher.k = (n - 1).bit_length() // 2 if n > 1 else 0
        self.cipher.mask = ((<uint64_t>1) << self.cipher.k) - 1
        self.cipher.m = (self.cipher.n + self.cipher.mask) >> self.cipher.k
        for j in range(8):
            self.cipher.key[j] = int.from_bytes(digest[8 * j : 8 * j + 8], "little")

    @property
    def n(self):
        """The number of rows."""
        return self.cipher.n

    def __len__(self):
        return <Py_ssize_t>self.cipher.n

    def __getitem__(self, index):
        cdef Py_ssize_t start, stop, step
        cdef int64_t[::1] view
        cdef uint64_t count, part, done = 0
        if isinstance(index, slice):
            start, stop, step = index.indices(self.cipher.n)
            if step == 1:
                return self.take(start, max(start, stop))
            count = len(range(start, stop, step))
            out = np.empty(count, dtype=np.int64)
            view = out
            while done < count:
                part = min(count - done, <uint64_t>CHUNK)
                with nogil:
                    fill_steps(&self.cipher, start + done * <uint64_t>step, step, part, &view[done])
                done += part
                PyErr_CheckSignals()
            return out
        try:
            place = operator.index(index)
        except TypeError:
            raise TypeError(
                f"index must be an integer or a slice, got {type(index).__name__}"
            ) from None
        n = self.cipher.n
        if not -n <= place < n:
            raise IndexError(f"index {place} is out of range for a permutation of {n} rows")
        return self._at(place + n if place < 0 else place)

    cdef _at(self, uint64_t place):
        cdef int64_t value = 0
        fill(&self.cipher, NULL, place, 1, &value)
        return value

    def take(self, start, stop, out=None):
        """The rows at the places start, ..., stop - 1.

        Parameters
        ----------
        start, stop : int
            ``0 <= start <= stop <= len(p)``.
        out : (stop - start,) int64 ndarray, optional
            Where to write, C-contiguous and writable; a new array without it.

        Returns
        -------
        (stop - start,) int64 ndarray
            ``out`` if it was given.

        Raises
        ------
        TypeError
            ``start`` or ``stop`` is not an integer, ``out`` is not an int64 array.
        IndexError
            The places are not places of this permutation.
        ValueError
            ``out`` has another length, is read-only or not contiguous.
        """
        cdef int64_t[::1] view
        cdef uint64_t done = 0, part, first, count
        cdef uint32_t* table = NULL
        cdef Cipher* c = &self.cipher
        start = _integer("start", start)
        stop = _integer("stop", stop)
        if not start <= stop <= c.n:
            raise IndexError(
                f"start and stop must satisfy 0 <= start <= stop <= {c.n}, got {start} and {stop}"
            )
        first = start
        count = stop - start
        if out is None:
            out = np.empty(count, dtype=np.int64)
        else:
            if not isinstance(out, np.ndarray) or out.dtype != np.int64 or not out.dtype.isnative:
                kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
                raise TypeError(f"out must be an int64 ndarray, got {kind}")
            if out.shape != (count,):
                raise ValueError(f"out must have the shape ({count},), got {out.shape}")
            if not out.flags.writeable or not out.flags.c_contiguous or not out.flags.aligned:
                raise ValueError("out must be writable, aligned and C-contiguous")
        if count == 0:
            return out
        view = out
        try:
            # The tables cost as much as about sqrt(n) places. Without memory for them: slower, same values.
            if c.n > SMALL and c.k <= TABLE_BITS and c.m << c.k <= 0xFFFFFFFF:
                if count >= c.m + c.mask:
                    with nogil:
                        table = tabulate(c)
            while done < count:
                part = min(count - done, <uint64_t>CHUNK)
                with nogil:
                    fill(c, table, first + done, part, &view[done])
                done += part
                PyErr_CheckSignals()
        finally:
            free(table)
        return out

    def __iter__(self):
        n = self.cipher.n
        for start in range(0, n, 4096):
            yield from self.take(start, min(start + 4096, n)).tolist()

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("a Permutation stores no array: copy=False is impossible")
        return self.take(0, self.cipher.n).astype(np.int64 if dtype is None else dtype, copy=False)

    def __eq__(self, other):
        if not isinstance(other, Permutation):
            return NotImplemented
        return (self.n, self.seed, self.epoch) == (other.n, other.seed, other.epoch)

    def __hash__(self):
        return hash((Permutation, self.n, self.seed, self.epoch))

    def __reduce__(self):
        return Permutation, (self.n, self.seed, self.epoch)

    def __repr__(self):
        return f"permutation(n={self.n}, seed={self.seed}, epoch={self.epoch})"


def permutation(n, seed, epoch):
    """A pseudorandom order of n rows that is computed on demand and stored nowhere.

    Parameters
    ----------
    n : int
        The number of rows, 0 <= n < 2**63.
    seed, epoch : int
        Which order; integers >= 0 of any size.

    Returns
    -------
    Permutation
        ``p[i]`` is the row at place i, ``p[a:b]`` an int64 array of the rows at a, ..., b - 1 and
        ``np.asarray(p)`` all of the order. The same on every platform.

    Raises
    ------
    TypeError
        An argument is not an integer.
    ValueError
        An argument is negative, or n is 2**63 or more.

    Examples
    --------
    >>> from softstep.data import permutation
    >>> p = permutation(10, seed=0, epoch=0)
    >>> sorted(p) == list(range(10))
    True
    >>> permutation(10**12, seed=0, epoch=3)[10**11 : 10**11 + 3].shape
    (3,)

    References
    ----------
    J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
    """
    return Permutation(n, seed, epoch)
