// Cross-entropy of logits with class indices, and its gradient in the same pass.
//
//     loss_i = log sum_j exp(x_ij) - x_it = log1p(others) + (max - x_it),      t = target[i]
//     dlogits_ij = weight (softmax(x_i)_j - [j = t])
//
// Numerics: both terms of the loss are positive, so nothing cancels: a loss of 2e-9 comes out as 2e-9 (exp_sums.hpp).
// The target's gradient is minus the sum of the other columns' (-others / total where the target is the maximum,
// softmax - 1, which is then at most -1/2, where it is not). With D the mean of |x_j - max| over the other columns,
// weighted by exp(x_j - max), the loss is within (8 + D / 2) eps, relatively.
//
// Ignored rows: loss 0, gradient exactly 0, whatever their logits. Row losses are added in double, tile by tile, and
// the tiles as a fixed tree.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
struct CrossEntropy {
  const T* logits;        // (rows, classes)
  const int64_t* target;  // (rows,), each a class or ignore_index
  int64_t rows, classes;  // classes >= 1
  int64_t ignore_index;
  T weight;     // of each row's gradient
  T* row_loss;  // (rows,), or null
  T* dlogits;   // (rows, classes), or null; may be logits
};

// Returns the sum of the row losses.
template <class T>
double cross_entropy(const CrossEntropy<T>& problem, int threads);

}  // namespace softstep
