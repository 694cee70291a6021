// softmax(x)_j = exp(x_j) / sum exp(x),  log_softmax(x)_j = x_j - log sum exp(x),  logsumexp(x) = log sum exp(x), for
// each row of a contiguous (rows, columns) matrix, columns >= 1. `out` may be `logits`.
//
// Numerics: exp_sums.hpp. With D the mean of |x_j - max| over the other columns, weighted by exp(x_j - max), softmax is
// within (4 + (|x - max| + D) / 2) eps of the exact value, relatively: x - max is rounded once (its half ulp becomes a
// relative error of exp), the rest is exp (2), the sum, the reciprocal and a product.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
void softmax_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads);
template <class T>
void log_softmax_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads);
template <class T>
void logsumexp_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads);

}  // namespace softstep
