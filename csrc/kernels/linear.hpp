// logits (N, C) = f(x (N, K) weight (C, K)^T + bias (C,)), f the identity or an activation, and the backward pass of
// the part inside f:
//
//     dx (N, K) = dlogits weight,   dweight (C, K) = dlogits^T x,   dbias (C,) = sum over the rows of dlogits
//
// Features are of any type, converted as they are read. Few rows by few outputs are multiplied as they lie
// (linear_dots.hpp). Few features, and as many outputs as fill a few vectors, go forward through linear_lanes.hpp.
// Other few outputs (up to narrow_outputs) go through linear_tiles.hpp, which reads each row once and packs nothing; so
// do few rows, with the rows of weights in the place of the features. The rest goes through matrix_product.hpp. Which
// way is taken, and the order of every sum, depends on the shapes and on how the features are given, not on threads.
#pragma once

#include "kernels/activations.hpp"
#include "kernels/features.hpp"
#include "parallel.hpp"

namespace softstep {

template <class T>
void linear_forward(T* logits, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C,
                    Activation activation, int threads);

// Any of the outputs may be null. Where x = f(z), as the layer before has made it, dx is the gradient with respect to
// z; x is then of the type computed in, in rows without an order.
template <class T>
void linear_backward(T* dx, T* dweight, T* dbias, const Features<T>& x, const T* weight, const T* dlogits, int64_t N,
                     int64_t C, Activation of_x, int threads);

}  // namespace softstep
