// What softmax, log-sum-exp and cross-entropy share: the maximum of a row and the sum of exp(x - maximum) over its
// other columns.
//
// With m = max x_j, and the terms equal to the maximum counted instead of added,
//     others = sum over x_j < m of exp(x_j - m)  +  (how many x_j equal m) - 1
//     sum exp(x_j) = exp(m) (1 + others),        log-sum-exp = m + log1p(others).
// Keeping the maximum's own 1 out of the sum is what keeps a loss of 2e-9 from rounding to 0.
//
// NaN needs no branch: it is never equal to the maximum, so it enters `others`. An infinite maximum makes
// max - max NaN, which `total` and `log_total` take in: such a row is NaN in softmax, while m + log1p(others) is +-inf.
//
// Narrow rows (up to narrow_columns) are worked on a block of `lanes` at a time with the rows in the lanes: loaded,
// transposed in registers, transposed back. Wide rows run along the row. Sums are taken in blocks (32 columns or 32
// vectors, four sums in each) and the blocks added up, for wide rows in compensated double, so the error does not grow
// with the length. The path depends on the number of columns alone, and each lane on its own row alone: a row gives the
// same bits in any batch.
#pragma once

#include <cmath>
#include <limits>

#include "simd/columns.hpp"
#include "simd/math.hpp"

namespace softstep {

inline constexpr int narrow_columns = 128;
inline constexpr int64_t fetched_bytes = int64_t{512}
                                         << 10;  // the longest row that is fetched while another is in hand

// What exp is taken of, made from d = x - max <= 0: d itself, or d / temperature. The reciprocal has two parts, so that
// the quotient is rounded about once (twice without fused multiply-add). Where it is too large for T, the
// quotient is multiplied by 2^64 in the end; if it is even then, exp is 0 for any d but 0.
struct Unscaled {
  template <class V>
  SOFTSTEP_INLINE V operator()(V d) const {
    return d;
  }
};

template <class T>
struct Scaled {
  T high = 1, low = 0, more = 1;

  Scaled() = default;
  explicit Scaled(double temperature) {
    constexpr double most = std::numeric_limits<T>::max();
    if (!(1 / temperature <= most)) more = 0x1p64, temperature *= 0x1p64;
    const double inverse = 1 / temperature;
    high = static_cast<T>(inverse < most ? inverse : most);
    const double rest = sizeof(T) == 4 ? inverse - static_cast<double>(high)
                                       : std::fma(-static_cast<double>(high), temperature, 1.0) * inverse;
    low = std::abs(rest) < 1e-6 * inverse ? static_cast<T>(rest) : T(0);
  }
  // d = -inf times `low` would be NaN.
  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> d) const {
    const Vec<T> finite = larger<T>(broadcast<T>(-std::numeric_limits<T>::max()), d);
    return fma<T>(d, broadcast<T>(high), finite * low) * more;
  }
};

// Per lane, what a block of rows amounts to.
template <class T>
struct LaneSums {
  Vec<T> max, others;
  // 1 + others, NaN where the maximum is infinite
  SOFTSTEP_INLINE Vec<T> total() const { return (max - max) + T(1) + others; }
  SOFTSTEP_INLINE Vec<T> log_total() const { return (max - max) + log1p<T>(others); }
};

// The largest of the columns in each lane. Width, here and below, is the width where it is known at compile time, so
// that the columns stay in registers; the bits do not depend on it.
template <class T, int Width = 0>
SOFTSTEP_INLINE Vec<T> max_of_columns(const Vec<T>* columns, int width) {
  Vec<T> even = columns[0], odd = columns[width - 1];
  repeat<Width / 2>(width / 2, [&](int c) SOFTSTEP_INLINE_LAMBDA {
    even = larger<T>(even, columns[2 * c]);
    odd = larger<T>(odd, columns[2 * c + 1]);
  });
  return larger<T>(even, odd);
}

// term(first, i, e) for every column first + i, e = exp(x - max), four columns at a time (math.hpp tells why), and
// after every 32 columns next_block().
template <class T, int Width, class Scale, class Term, class NextBlock>
SOFTSTEP_INLINE void for_exp_of_columns(const Vec<T>* columns, int width, Vec<T> max, Scale scale, Term term,
                                        NextBlock next_block) {
  const auto some = [&]<int N>(int first, std::integral_constant<int, N>) SOFTSTEP_INLINE_LAMBDA {
    Vec<T> e[N];
    repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { e[i] = scale(columns[first + i] - max); });
    exp_to_one<T, N>(e);
    repeat<N>(N, [&](int i) SOFTSTEP_INLINE_LAMBDA { term(first, i, e[i]); });
    if ((first + N) % 32 == 0) next_block();
  };
  repeat<Width / 4>(width / 4,
                    [&](int group) SOFTSTEP_INLINE_LAMBDA { some(4 * group, std::integral_constant<int, 4>{}); });
  const int first = width / 4 * 4, rest = width % 4;
  if (rest == 1) some(first, std::integral_constant<int, 1>{});
  if (rest == 2) some(first, std::integral_constant<int, 2>{});
  if (rest == 3) some(first, std::integral_constant<int, 3>{});
}

template <class T>
SOFTSTEP_INLINE Vec<T> sum_of_four(const Vec<T>* v) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

// The sums of a block of rows; columns[c] becomes exp(x - max) where Keep asks for it.
template <class T, bool Keep, int Width = 0, class Scale = Unscaled>
SOFTSTEP_INLINE LaneSums<T> exp_columns(Vec<T>* columns, int width, Scale scale = {}) {
  const Vec<T> max = max_of_columns<T, Width>(columns, width);
  Vec<T> below{}, block[4] = {};
  Vec<Int<T>> others[4] = {};
  for_exp_of_columns<T, Width>(
      columns, width, max, scale,
      [&](int first, int i, Vec<T> e) SOFTSTEP_INLINE_LAMBDA {
        const auto is_other = columns[first + i] != max;
        block[i] = select<T>(is_other, block[i] + e, block[i]);
        others[i] = is_other ? others[i] + 1 : others[i];
        if constexpr (Keep) columns[first + i] = e;
      },
      [&]() SOFTSTEP_INLINE_LAMBDA {
        below += sum_of_four<T>(block);
        repeat<4>(4, [&](int i) SOFTSTEP_INLINE_LAMBDA { block[i] = Vec<T>{}; });
      });
  below += sum_of_four<T>(block);
  const Vec<Int<T>> equal = width - ((others[0] + others[1]) + (others[2] + others[3]));
  // A row without a maximum is a row of NaN; `below` says so already.
  return {max, below + __builtin_convertvector(equal - 1, Vec<T>)};
}

// columns[c] becomes exp(x - max); returns the sum of all of them, the maximum's own 1 included: cheaper, and enough
// where no logarithm is taken. NaN where the maximum is infinite.
template <class T, int Width = 0, class Scale = Unscaled>
SOFTSTEP_INLINE Vec<T> exp_total(Vec<T>* columns, int width, Scale scale = {}) {
  Vec<T> total{}, block[4] = {};
  for_exp_of_columns<T, Width>(
      columns, width, max_of_columns<T, Width>(columns, width), scale,
      [&](int first, int i, Vec<T> e) SOFTSTEP_INLINE_LAMBDA { block[i] += columns[first + i] = e; },
      [&]() SOFTSTEP_INLINE_LAMBDA {
        total += sum_of_four<T>(block);
        repeat<4>(4, [&](int i) SOFTSTEP_INLINE_LAMBDA { block[i] = Vec<T>{}; });
      });
  return total + sum_of_four<T>(block);
}

// Wide rows: the sums of one row.
template <class T>
struct RowSums {
  T max, others;
  T total() const { return (max - max) + T(1) + others; }
  T log_total() const { return (max - max) + log1p<T>(broadcast<T>(others))[0]; }
  T logsumexp() const { return max + log1p<T>(broadcast<T>(others))[0]; }
};

template <class T>
SOFTSTEP_INLINE T row_max(const T* x, int64_t n) {
  constexpr int L = lanes<T>;
  const Vec<T> lowest = broadcast<T>(-std::numeric_limits<T>::infinity());
  Vec<T> m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    m0 = larger<T>(load(x + i), m0);
    m1 = larger<T>(load(x + i + L), m1);
    m2 = larger<T>(load(x + i + 2 * L), m2);
    m3 = larger<T>(load(x + i + 3 * L), m3);
  }
  for (; i < n; i += L) {
    const int some = n - i < L ? static_cast<int>(n - i) : L;
    m0 = larger<T>(select<T>(lane_numbers<T>() < static_cast<Int<T>>(some), load_partial(x + i, some), lowest), m0);
  }
  return max_lanes<T>(larger<T>(larger<T>(m0, m1), larger<T>(m2, m3)));
}

// Lanes added up in double precision.
SOFTSTEP_INLINE double sum_in_double(Vec<double> v) { return sum_lanes<double>(v); }
SOFTSTEP_INLINE double sum_in_double(Vec<float> v) {
  typedef float Half __attribute__((vector_size(vector_bytes / 2)));
  Half halves[2];
  std::memcpy(halves, &v, sizeof v);
  return sum_lanes<double>(__builtin_convertvector(halves[0], Vec<double>) +
                           __builtin_convertvector(halves[1], Vec<double>));
}

// A sum of doubles that keeps what each addition rounds off (Knuth's two-sum).
class CompensatedSum {
 public:
  void add(double term) {
    const double sum = sum_ + term, part = sum - sum_;
    lost_ += (sum_ - (sum - part)) + (term - part);
    sum_ = sum;
  }
  double total() const { return lost_ == lost_ ? sum_ + lost_ : sum_; }

 private:
  double sum_ = 0, lost_ = 0;
};

// Asked every so often inside a long row, whether to give up; what is returned then is of no meaning.
struct Never {
  bool operator()() const { return false; }
};
inline constexpr int64_t ask_every = 1 << 20;

// The sum of n terms in blocks of 32 vectors of four sums, the blocks in compensated double. add(sum, i, Some) adds the
// terms i .. i + lanes - 1, or the first `some` of them where some < lanes, to the vector `sum`; four(sums, i) adds
// four vectors' worth to four sums, and next_block() is told when a block ends.
template <class T, class Four, class Add, class NextBlock, class Stop>
SOFTSTEP_INLINE double sum_in_blocks(int64_t n, Four four, Add add, NextBlock next_block, Stop stop) {
  constexpr int L = lanes<T>;
  constexpr int64_t block_size = 32 * L;
  CompensatedSum total;
  for (int64_t first = 0; first < n; first += block_size) {
    if (first % ask_every == 0 && first > 0 && stop()) break;
    const int64_t end = first + block_size < n ? first + block_size : n;
    Vec<T> sum[4] = {};
    int64_t i = first;
    for (; i + 4 * L <= end; i += 4 * L) four(sum, i);
    for (; i < end; i += L) add(sum[0], i, end - i < L ? static_cast<int>(end - i) : L);
    total.add(sum_in_double(sum_of_four<T>(sum)));
    next_block();
  }
  return total.total();
}

template <class T, class Stop>
SOFTSTEP_INLINE T long_row_max(const T* x, int64_t n, Stop stop) {
  T max = row_max(x, n < ask_every ? n : ask_every);
  for (int64_t first = ask_every; first < n; first += ask_every) {
    if (stop()) break;
    const T next = row_max(x + first, n - first < ask_every ? n - first : ask_every);
    max = next > max ? next : max;
  }
  return max;
}

// The sums of one row. meanwhile(i) is called for every four vectors, and may do something for memory.
template <class T, class Scale, class Stop, class Meanwhile>
SOFTSTEP_INLINE RowSums<T> exp_row(const T* x, int64_t n, Scale scale, Stop stop, Meanwhile meanwhile) {
  constexpr int L = lanes<T>;
  const T max = long_row_max(x, n, stop);
  const Vec<T> m = broadcast<T>(max);
  int64_t others = 0;
  Vec<Int<T>> count{};
  const double below = sum_in_blocks<T>(
      n,
      [&](Vec<T>* sum, int64_t i) SOFTSTEP_INLINE_LAMBDA {
        meanwhile(i);
        Vec<T> v[4], y[4];
        repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { v[u] = load(x + i + u * L); });
        repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { y[u] = scale(v[u] - m); });
        exp_to_one<T, 4>(y);
        repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA {
          const auto is_other = v[u] != m;
          sum[u] = select<T>(is_other, sum[u] + y[u], sum[u]);
          count = is_other ? count + 1 : count;
        });
      },
      [&](Vec<T>& sum, int64_t i, int some) SOFTSTEP_INLINE_LAMBDA {
        const auto inside = lane_numbers<T>() < static_cast<Int<T>>(some);
        const Vec<T> v = select<T>(inside, load_partial(x + i, some), m);
        const auto is_other = v != m;
        Vec<T> y = scale(v - m);
        exp_to_one<T, 1>(&y);
        sum = select<T>(is_other, sum + y, sum);
        count -= is_other;
      },
      [&]() SOFTSTEP_INLINE_LAMBDA {
        Int<T> counts[L];
        std::memcpy(counts, &count, sizeof counts);
        for (Int<T> c : counts) others += c;
        count = Vec<Int<T>>{};
      },
      stop);
  return {max, static_cast<T>(below + static_cast<double>(n - others - 1))};
}

// exp(x - max) of one row, written to `e` (which may be x), and the sum of all of them, the maximum's own 1 included:
// cheaper, and enough where no logarithm is taken. NaN where the maximum is infinite.
template <class T, class Scale, class Stop, class Meanwhile>
SOFTSTEP_INLINE T exp_row_total(T* e, const T* x, int64_t n, Scale scale, Stop stop, Meanwhile meanwhile) {
  constexpr int L = lanes<T>;
  const T max = long_row_max(x, n, stop);
  const Vec<T> m = broadcast<T>(max);
  const double total = sum_in_blocks<T>(
      n,
      [&](Vec<T>* sum, int64_t i) SOFTSTEP_INLINE_LAMBDA {
        meanwhile(i);
        Vec<T> y[4];
        repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { y[u] = scale(load(x + i + u * L) - m); });
        exp_to_one<T, 4>(y);
        repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA {
          sum[u] += y[u];
          store(e + i + u * L, y[u]);
        });
      },
      [&](Vec<T>& sum, int64_t i, int some) SOFTSTEP_INLINE_LAMBDA {
        const auto inside = lane_numbers<T>() < static_cast<Int<T>>(some);
        Vec<T> y = scale(select<T>(inside, load_partial(x + i, some), m) - m);
        exp_to_one<T, 1>(&y);
        sum += select<T>(inside, y, Vec<T>{});
        store_partial(e + i, y, some);
      },
      [] {}, stop);
  return static_cast<T>(total);
}

// y[i] = value(i, count) for a row of n, value giving `count` lanes from i on.
template <class T, class Value, class Stop = Never>
SOFTSTEP_INLINE void write_row(T* y, int64_t n, Value value, Stop stop = {}) {
  constexpr int L = lanes<T>;
  for (int64_t i = 0; i < n;) {
    const int64_t end = n - i < ask_every ? n : i + ask_every;
    for (; i + L <= end; i += L) store(y + i, value(i, L));
    if (i < end) {
      store_partial(y + i, value(i, static_cast<int>(end - i)), static_cast<int>(end - i));
      i = end;
    }
    if (i < n && stop()) return;
  }
}

}  // namespace softstep
