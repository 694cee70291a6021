// Cross-entropy of logits = x weight^T + bias that are never whole in memory, and the gradients of all three.
//
//     loss (cross_entropy.hpp) of the logits;   dlogits its gradient
//     dx = dlogits weight,   dweight = dlogits^T x,   dbias = sum over the rows of dlogits
//
// The rows are cut into chunks whose logits take at most 32 MB, or one row if that takes more. A chunk's logits are
// multiplied out (linear.hpp), become their own gradient in place (cross_entropy.hpp), are multiplied back, and their
// part of dweight is added to what the chunks before have left there. All products are whole matrix products: their
// blocks, and not the chunk, are what fits the caches.
//
// Numerics: as the kernels it is made of. The cut depends on the number of rows and classes alone.
#pragma once

#include "kernels/cross_entropy.hpp"
#include "kernels/features.hpp"

namespace softstep {

template <class T>
struct LinearCrossEntropy {
  Features<T> x;            // loss.rows of them
  const T *weight, *bias;   // (classes, columns), (classes,) or null
  CrossEntropy<T> loss;     // all but its logits, which are made here
  T *dx, *dweight, *dbias;  // like x, weight and bias; each may be null
};

template <class T>
CrossEntropySum linear_cross_entropy(const LinearCrossEntropy<T>& problem, int threads);

}  // namespace softstep
