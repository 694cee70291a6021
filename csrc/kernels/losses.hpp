// Mean squared error: (prediction - target)^2 per element and its gradient 2 weight (prediction - target).
//
// Differences are squared in the arrays' type and added in double, tile by tile, and the tiles as a fixed tree.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
struct SquaredError {
  const T *prediction, *target;
  int64_t size;
  T weight;         // of each element's gradient
  T* element_loss;  // (size,), or null
  T* dprediction;   // (size,), or null; may be prediction
};

// Returns the sum of the elements' losses.
template <class T>
double squared_error(const SquaredError<T>& problem, int threads);

}  // namespace softstep
