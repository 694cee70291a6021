// Softmax along one axis of an array, its logarithm, log-sum-exp, and the gradients of the first two. With z = x / t,
// t the temperature,
//     softmax(x)_j = exp(z_j) / sum exp(z_k),  log_softmax(x)_j = z_j - log sum exp(z_k),
//     logsumexp(x) = log sum exp(z_k),
// and from the gradient g of what came out, p = softmax(x), q = log_softmax(x):
//     softmax_backward(g, p)_j = (g_j - sum g_k p_k) p_j / t,
//     log_softmax_backward(g, q)_j = (g_j - exp(q_j) sum g_k) / t.
// Arrays are seen as (outer, columns, inner) with strides, strided.hpp; columns >= 1. `out` is contiguous, and may be
// an input that is contiguous itself.
//
// Numerics: exp_sums.hpp. With D the mean of |z_j - max| over the other columns, weighted by exp(z_j - max), softmax is
// within (4 + (|z - max| + D) / 2) eps of the exact value, relatively: x - max is rounded once (its half ulp becomes a
// relative error of exp), the rest is exp (2), the sum, the reciprocal and a product. A temperature other than 1 rounds
// the exponent once more, and without fused multiply-add twice: (4 + 3 (|z - max| + D) / 2) eps. The sums of the
// gradients are taken like those of the exponentials, so softmax_backward is within (6 + 2 log2(columns)) eps of
// p_j / t times (|g_j| + sum |g_k p_k|), and so on.
//
// Narrow rows (up to narrow_columns): softmax_narrow.hpp. Wide rows take three passes: the maximum; exp into the
// output, while the next row is fetched; scaling it. Where the result is larger than the caches, exp goes into scratch
// and the row out of it, past the caches, while the next one is computed (row_stream.hpp). (Streaming stores by
// themselves, after a row's exponentials, were a quarter slower than none on a processor with 1 MB of second-level
// cache.) Where the axis is not the last, the elements beside it stand in the lanes, and what a row adds up where is
// imitated: the bits are the same.
#pragma once

#include "kernels/strided.hpp"
#include "parallel.hpp"

namespace softstep {

template <class T>
void softmax_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads);
template <class T>
void log_softmax_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads);
// out: (outer, inner)
template <class T>
void logsumexp_forward(T* out, const Strided<T>& logits, const Extent& extent, double temperature, int threads);

template <class T>
void softmax_backward(T* out, const Strided<T>& dout, const Strided<T>& softmax, const Extent& extent,
                      double temperature, int threads);
template <class T>
void log_softmax_backward(T* out, const Strided<T>& dout, const Strided<T>& log_softmax, const Extent& extent,
                          double temperature, int threads);

}  // namespace softstep
