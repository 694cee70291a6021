// logits (N, C) = f(x (N, K) weight (C, K)^T + bias (C,)), f the identity or an activation, and the backward pass of
// the part inside f:
//
//     dx (N, K) = dlogits weight,   dweight (C, K) = dlogits^T x,   dbias (C,) = sum over the rows of dlogits
//
// Features are of any type, converted as they are read. Few outputs (up to narrow_outputs) go through linear_tiles.hpp,
// which reads each row once and packs nothing; so do few rows, with the rows of weights in the place of the features.
// The rest goes through matrix_product.hpp. Which way is taken, and the order of every sum, depends on the shapes
// alone.
#pragma once

#include "kernels/activations.hpp"
#include "kernels/features.hpp"
#include "parallel.hpp"

namespace softstep {

template <class T>
void linear_forward(T* logits, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C,
                    Activation activation, int threads);

// Any of the outputs may be null.
template <class T>
void linear_backward(T* dx, T* dweight, T* dbias, const Features<T>& x, const T* weight, const T* dlogits, int64_t N,
                     int64_t C, int threads);

}  // namespace softstep
