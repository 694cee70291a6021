// Cross-entropy with class indices of a block of rows of middling width. The mathematics is in cross_entropy.hpp.
//
// Each row is worked on along the row, a few vectors, and only what a row comes down to (maximum, sum, factor) is
// brought into lanes, one row in each: `lanes` horizontal sums for the price of two, and one logarithm for the block.
// Transposing the rows themselves costs more than that as soon as a row is longer than a vector.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/exp_sums.hpp"

namespace softstep {

// `count` rows (up to `lanes`) of `width` columns at x, one after the other, with labels in target; a label of -1 is
// that of a row whose gradient is 0. Returns the losses, not weighted. With Gradient, g (which may be x) becomes
// weight (softmax - one-hot), weight being one number a lane.
template <class T, bool Gradient>
SOFTSTEP_INLINE Vec<T> cross_entropy_block(T* g, const T* x, int width, int count, const Int<T>* target,
                                           std::type_identity_t<Vec<T>> weight, LaneSums<T>& sums) {
  constexpr int L = lanes<T>;
  const int whole = width / L * L, rest = width - whole;
  const auto inside = lane_numbers<T>() < static_cast<Int<T>>(rest);
  const Vec<T> lowest = broadcast<T>(-std::numeric_limits<T>::infinity());
  // The last columns; beyond them stands `filler`.
  const auto last = [&](const T* row, Vec<T> filler) {
    return select<T>(inside, load_partial(row + whole, rest), filler);
  };
  // As many as are counted too much where the maximum is the filler. (Not -inf: exponentials that underflow are slow.)
  const Vec<T> fillers = rest ? select<T>(inside, Vec<T>{}, broadcast<T>(-1)) : Vec<T>{};

  // Four rows at a time (math.hpp tells why), the rest one by one.
  const auto four_by_four = [count](auto some) SOFTSTEP_INLINE_LAMBDA {
    int r = 0;
    for (; r + 4 <= count; r += 4) some(r, std::integral_constant<int, 4>{});
    for (; r < count; ++r) some(r, std::integral_constant<int, 1>{});
  };

  Vec<T> part[L];
  T lane[L];
  for (int r = count; r < L; ++r) part[r] = lowest;
  for (int r = 0; r < count; ++r) lane[r] = x[r * width + (target[r] >= 0 ? target[r] : 0)];
  for (int r = count; r < L; ++r) lane[r] = 0;
  four_by_four([&]<int N>(int first, std::integral_constant<int, N>) SOFTSTEP_INLINE_LAMBDA {
    const T* const rows = x + first * width;
    Vec<T> max[N];
    repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { max[r] = lowest; });
    for (int i = 0; i < whole; i += L)
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { max[r] = larger<T>(load(rows + r * width + i), max[r]); });
    if (rest)
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { max[r] = larger<T>(last(rows + r * width, lowest), max[r]); });
    repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { part[first + r] = max[r]; });
  });
  const Vec<T> chosen = load(lane);
  sums.max = row_maxima<T>(part);
  store(lane, sums.max);

  Vec<T> equal[L];
  for (int r = count; r < L; ++r) part[r] = equal[r] = Vec<T>{};
  four_by_four([&]<int N>(int first, std::integral_constant<int, N>) SOFTSTEP_INLINE_LAMBDA {
    const T* const rows = x + first * width;
    T* const terms = g + first * width;
    Vec<T> max[N], below[N], block[N], ones[N], v[N], y[N];
    repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA {
      max[r] = broadcast<T>(lane[first + r]);
      below[r] = block[r] = Vec<T>{};
      ones[r] = fillers;
    });
    const auto take = [&]() SOFTSTEP_INLINE_LAMBDA {
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { y[r] = v[r] - max[r]; });
      exp_to_one<T, N>(y);
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA {
        const auto is_max = v[r] == max[r];
        block[r] = select<T>(is_max, block[r], block[r] + y[r]);
        ones[r] = select<T>(is_max, ones[r] + T(1), ones[r]);
      });
    };
    for (int i = 0; i < whole; i += L) {
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { v[r] = load(rows + r * width + i); });
      take();
      if constexpr (Gradient) repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { store(terms + r * width + i, y[r]); });
      if (i % (8 * L) == 7 * L)
        repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA {
          below[r] += block[r];
          block[r] = Vec<T>{};
        });
    }
    if (rest) {
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { v[r] = last(rows + r * width, max[r]); });
      take();
      if constexpr (Gradient)
        repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { store_partial(terms + r * width + whole, y[r], rest); });
    }
    repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA {
      part[first + r] = below[r] + block[r];
      equal[first + r] = ones[r];
    });
  });
  sums.others = row_sums<T>(part) + (row_sums<T>(equal) - T(1));

  if constexpr (Gradient) {
    // What the target's own entry was when it was stored, to the bit.
    Vec<T> at_target = chosen - sums.max;
    exp_to_one<T, 1>(&at_target);
    const Vec<T> factors = weight / sums.total();
    T factor[L], own[L];
    store(factor, factors);
    store(own, ((at_target - T(1)) - sums.others) * factors);
    four_by_four([&]<int N>(int first, std::integral_constant<int, N>) SOFTSTEP_INLINE_LAMBDA {
      T* const rows = g + first * width;
      Vec<T> f[N];
      repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA { f[r] = broadcast<T>(factor[first + r]); });
      for (int i = 0; i < whole; i += L)
        repeat<N>(
            N, [&](int r) SOFTSTEP_INLINE_LAMBDA { store(rows + r * width + i, load(rows + r * width + i) * f[r]); });
      if (rest)
        repeat<N>(N, [&](int r) SOFTSTEP_INLINE_LAMBDA {
          T* const end = rows + r * width + whole;
          store_partial(end, load_partial(end, rest) * f[r], rest);
        });
    });
    for (int r = 0; r < count; ++r) {
      if (target[r] >= 0) g[r * width + target[r]] = own[r];
      else std::fill_n(g + r * width, width, T(0));
    }
  }
  return sums.log_total() + (sums.max - chosen);
}

}  // namespace softstep
