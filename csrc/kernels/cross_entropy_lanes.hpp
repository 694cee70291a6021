// Cross-entropy of a block of rows that stand in the lanes: what the kernel does to narrow rows, and the fused training
// step to the logits it has just computed. The mathematics is in cross_entropy.hpp.
#pragma once

#include <limits>

#include "kernels/exp_sums.hpp"

namespace softstep {

// Width, as in exp_sums.hpp, is the width where it is known at compile time. columns[c], c < width, holds the logits of
// class c; target is a class in each lane, or -1 where the result is of no meaning. Returns the losses, not weighted;
// with Gradient, columns becomes weight (softmax - one-hot).
template <class T, bool Gradient, int Width = 0>
SOFTSTEP_INLINE Vec<T> cross_entropy_lanes(Vec<T>* columns, int width, Vec<Int<T>> target,
                                           std::type_identity_t<Vec<T>> weight, LaneSums<T>* keep_sums = nullptr) {
  Vec<T> chosen = columns[0];
  repeat<Width>(width, [&](int c) SOFTSTEP_INLINE_LAMBDA { chosen = select<T>(target == c, columns[c], chosen); });
  const LaneSums<T> sums = exp_columns<T, Gradient, Width>(columns, width);
  if (keep_sums) *keep_sums = sums;
  if constexpr (Gradient) {
    const Vec<T> factor = weight / sums.total();
    repeat<Width>(width, [&](int c) SOFTSTEP_INLINE_LAMBDA {
      columns[c] = select<T>(target == c, (columns[c] - T(1)) - sums.others, columns[c]) * factor;
    });
  }
  return sums.log_total() + (sums.max - chosen);
}

// The same for targets with mass in many columns: mass[c], c < width, is u of cross_entropy.hpp.
template <class T, bool Gradient>
SOFTSTEP_INLINE Vec<T> cross_entropy_lanes(Vec<T>* columns, const Vec<T>* mass, int width,
                                           std::type_identity_t<Vec<T>> weight, LaneSums<T>& sums) {
  Vec<T> max = columns[0];
  for (int c = 1; c < width; ++c) max = larger<T>(max, columns[c]);
  Vec<T> all{}, distance{};
  for (int first = 0; first < width; first += 8) {
    const int end = first + 8 < width ? first + 8 : width;
    Vec<T> all_here{}, distance_here{};
    for (int c = first; c < end; ++c) {
      all_here += mass[c];
      distance_here += select<T>(mass[c] == T(0), Vec<T>{}, mass[c] * (max - columns[c]));
    }
    all += all_here;
    distance += distance_here;
  }
  sums = exp_columns<T, Gradient>(columns, width);
  if constexpr (Gradient) {
    const Vec<T> factor = all / sums.total();
    for (int c = 0; c < width; ++c) columns[c] = fma<T>(columns[c], factor, -mass[c]) * weight;
  }
  return fma<T>(all, sums.log_total(), distance);
}

// weight * loss, 0 where the weight is 0 and the loss infinite.
template <class T>
SOFTSTEP_INLINE Vec<T> weighted_loss(std::type_identity_t<Vec<T>> weight, std::type_identity_t<Vec<T>> loss) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  return select<T>((weight == T(0)) & (loss == infinity), Vec<T>{}, weight * loss);
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
