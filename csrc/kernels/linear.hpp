// logits (N, C) = x (N, K) weight (C, K)^T + bias (C,), and its backward pass:
//
//     dx (N, K) = dlogits weight,   dweight (C, K) = dlogits^T x,   dbias (C,) = sum over the rows of dlogits
//
// All matrices contiguous. Up to narrow_outputs classes go through linear_tiles.hpp, which reads each row once and
// packs nothing; more go through matrix_product.hpp. Either way the order of every sum depends on the shapes alone.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
void linear_forward(T* logits, const T* x, const T* weight, const T* bias, int64_t N, int64_t K, int64_t C,
                    int threads);

template <class T>
void linear_backward(T* dx, T* dweight, T* dbias, const T* x, const T* weight, const T* dlogits, int64_t N, int64_t K,
                     int64_t C, int threads);

}  // namespace softstep
