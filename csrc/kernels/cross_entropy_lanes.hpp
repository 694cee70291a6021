// Cross-entropy of a block of rows that stand in the lanes: what the kernel does to narrow rows, and the fused training
// step to the logits it has just computed. The mathematics is in cross_entropy.hpp.
#pragma once

#include "kernels/exp_sums.hpp"

namespace softstep {

// columns[c], c < width, holds the logits of class c; target is a class in each lane, or -1 where the result is of no
// meaning. Returns the losses; with Gradient, columns becomes weight (softmax - one-hot).
template <class T, bool Gradient>
SOFTSTEP_INLINE Vec<T> cross_entropy_lanes(Vec<T>* columns, int width, Vec<Int<T>> target,
                                           std::type_identity_t<Vec<T>> weight) {
  Vec<T> chosen = columns[0];
  for (int c = 1; c < width; ++c) chosen = select<T>(target == c, columns[c], chosen);
  const LaneSums<T> sums = exp_columns<T, Gradient>(columns, width);
  if constexpr (Gradient) {
    const Vec<T> scale = T(1) / sums.total();
    const Vec<T> factor = scale * weight;
    const Vec<T> softmax = exp<T>(chosen - sums.max) * scale;
    const Vec<T> own = select<T>(chosen == sums.max, -sums.others * scale, softmax - T(1)) * weight;
    for (int c = 0; c < width; ++c) columns[c] = select<T>(target == c, own, columns[c] * factor);
  }
  return sums.log_total() + (sums.max - chosen);
}

// The class with the largest logit, the first of equals, in each lane; -1 where a logit is NaN.
template <class T>
SOFTSTEP_INLINE Vec<Int<T>> argmax_lanes(const Vec<T>* columns, int width) {
  Vec<T> best = columns[0];
  Vec<Int<T>> where{}, nan = columns[0] != columns[0];
  for (int c = 1; c < width; ++c) {
    const auto better = columns[c] > best;
    best = better ? columns[c] : best;
    where = better ? Vec<Int<T>>{} + c : where;
    nan |= columns[c] != columns[c];
  }
  return where | nan;
}

}  // namespace softstep
