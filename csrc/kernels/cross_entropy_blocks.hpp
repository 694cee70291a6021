// Cross-entropy with class indices of a block of rows of middling width. The mathematics is in cross_entropy.hpp.
//
// Each row is worked on along the row, a few vectors, and only what a row comes down to (maximum, sum, factor) is
// brought into lanes, one row in each: `lanes` horizontal sums for the price of two, and one logarithm for the block.
// Transposing the rows themselves costs more than that as soon as a row is longer than a vector.
#pragma once

#include <limits>

#include "kernels/exp_sums.hpp"

namespace softstep {

// Lane i of the result is the largest lane of m[i]; none may be NaN.
template <class T>
SOFTSTEP_INLINE Vec<T> row_maxima(Vec<T>* m) {
  const auto stage = [m]<int Step>(std::integral_constant<int, Step>) {
#pragma GCC unroll 16
    for (int i = 0; i < Step; ++i)
      m[i] = larger<T>(detail::exchange<T, Step, false>(m[i], m[i + Step]),
                       detail::exchange<T, Step, true>(m[i], m[i + Step]));
  };
  if constexpr (lanes<T> > 8) stage(std::integral_constant<int, 8>{});
  if constexpr (lanes<T> > 4) stage(std::integral_constant<int, 4>{});
  if constexpr (lanes<T> > 2) stage(std::integral_constant<int, 2>{});
  stage(std::integral_constant<int, 1>{});
  return m[0];
}

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

  Vec<T> part[L];
  T lane[L] = {};
  for (int r = 0; r < L; ++r) part[r] = lowest;
  for (int r = 0; r < count; ++r) {
    const T* const row = x + r * width;
    lane[r] = row[target[r] >= 0 ? target[r] : 0];
    Vec<T> max = lowest;
    for (int i = 0; i < whole; i += L) max = larger<T>(load(row + i), max);
    if (rest) max = larger<T>(last(row, lowest), max);
    part[r] = max;
  }
  const Vec<T> chosen = load(lane);
  sums.max = row_maxima<T>(part);
  store(lane, sums.max);

  Vec<T> equal[L];
  for (int r = 0; r < L; ++r) part[r] = equal[r] = Vec<T>{};
  for (int r = 0; r < count; ++r) {
    const T* const row = x + r * width;
    const Vec<T> max = broadcast<T>(lane[r]);
    Vec<T> below{}, block{}, ones = fillers;
    const auto take = [&](Vec<T> v) {
      const auto is_max = v == max;
      const Vec<T> y = exp<T>(v - max);
      block = select<T>(is_max, block, block + y);
      ones = select<T>(is_max, ones + T(1), ones);
      return y;
    };
    for (int i = 0; i < whole; i += L) {
      const Vec<T> y = take(load(row + i));
      if constexpr (Gradient) store(g + r * width + i, y);
      if (i % (8 * L) == 7 * L) {
        below += block;
        block = Vec<T>{};
      }
    }
    if (rest) {
      const Vec<T> y = take(last(row, max));
      if constexpr (Gradient) store_partial(g + r * width + whole, y, rest);
    }
    part[r] = below + block;
    equal[r] = ones;
  }
  sums.others = row_sums<T>(part) + (row_sums<T>(equal) - T(1));

  if constexpr (Gradient) {
    T factor[L], others[L];
    store(factor, weight / sums.total());
    store(others, sums.others);
    for (int r = 0; r < count; ++r) {
      if (target[r] < 0) continue;
      T& own = g[r * width + target[r]];
      own = (own - T(1)) - others[r];
    }
    for (int r = 0; r < count; ++r) {
      T* const row = g + r * width;
      const auto scaled = [&](Vec<T> e) { return target[r] >= 0 ? e * factor[r] : Vec<T>{}; };
      for (int i = 0; i < whole; i += L) store(row + i, scaled(load(row + i)));
      if (rest) store_partial(row + whole, scaled(load_partial(row + whole, rest)), rest);
    }
  }
  return sums.log_total() + (sums.max - chosen);
}

}  // namespace softstep
