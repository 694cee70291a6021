// Losses of single elements: mean squared error and binary cross-entropy of logits. With weights w (and p, of positive
// targets), loss l and slope d:
//
//     squared error    l = w (x - t)^2                                d = 2 w (x - t)
//     logistic         l = w (t p softplus(-x) + (1 - t) softplus(x)) d = w ((1 - t) sigmoid(x) - t p sigmoid(-x))
//
// With e = exp(-|x|), which cannot overflow, softplus(+-x) = max(+-x, 0) + log1p(e), and the two sigmoids are 1 / (1 +
// e) and e / (1 + e). All terms of the logistic loss are positive, so nothing cancels: a loss of 2e-9 keeps its digits.
// A term whose factor, t p or 1 - t, is 0 is 0 even where its softplus is infinite.
//
// Elements are computed in the arrays' type. Losses are added in that type over blocks of 512 elements, blocks in
// double, tile by tile, and the tiles as a fixed tree.
#pragma once

#include "parallel.hpp"

namespace softstep {

// Numbers that stand for one of each element: element i has value[(i / repeat) % period]. That covers one number for
// all (repeat 1, period 1), one for each element, one for each of the last axes, and one for each of the first.
template <class T>
struct Spread {
  const T* value;  // (period,), or null: 1
  int64_t repeat, period;
};

template <class T>
struct ElementLoss {
  const T *x, *target;  // (size,) each
  int64_t size;
  Spread<T> weight, positive_weight;  // the latter of the logistic loss only
  T factor;                           // of the slope
  T* loss;                            // (size,), or null
  T* slope;                           // (size,), or null; may be x
};

// Return the sum of the elements' losses.
template <class T>
double squared_error(const ElementLoss<T>& problem, int threads);
template <class T>
double logistic_loss(const ElementLoss<T>& problem, int threads);

// The sum of the weights of all elements.
template <class T>
double sum_of_weights(const Spread<T>& weight, int64_t size, int threads);

// The first element that is not from 0 to 1, or -1.
template <class T>
int64_t first_outside_unit(const T* x, int64_t size, int threads);

}  // namespace softstep
