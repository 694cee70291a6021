// out (M, N) = a (M, K) b (N, K)^T + bias (N,), each operand in any two strides.
//
// Blocking, after Goto: b is packed once, in parallel, into panels of `panel` columns [block of K][panel][k][panel
// columns]. The output is cut into tiles of rows times groups of panels; for each block of K a tile packs its rows into
// strips [k][strip rows] and multiplies every strip with every panel, panels outermost, `strip` times `panel` sums in
// registers. Panels are wide and strips low, which takes fewer broadcasts per multiply-add.
//
// Numerics: each element is a chain over the k of a block, the blocks added in order, starting from the bias: the order
// depends on K alone. Padding multiplies zeros that are not stored.
#pragma once

#include "parallel.hpp"

namespace softstep {

template <class T>
struct Operand {
  const T* data;
  int64_t row, col;  // element (i, k) is data[i * row + k * col]; one of them is 1
};

template <class T>
void matrix_product(T* out, const Operand<T>& a, const Operand<T>& b, const T* bias, int64_t M, int64_t N, int64_t K,
                    int threads);

}  // namespace softstep
