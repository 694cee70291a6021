// out (M, N) = f(a (M, K) b (N, K)^T + bias (N,)), f the identity or an activation; or the product is added to what is
// there. Each operand lies along either axis, in any order along the other, and is of any feature type.
//
// Blocking, after Goto: k is cut into blocks, a into blocks of rows that stay in the third-level cache, and the output
// into blocks of columns that do. A block of a that cannot be read where it lies is copied by all threads. Then each
// packs a group of panels of its own (matrix_tiles.hpp), which stays in its second-level cache, and goes over the
// block's rows a strip at a time, which stays in the first. Where there are fewer groups than threads, several pack the
// same one and share the rows. A small b is packed by every thread for itself, which then goes over its own rows of a
// from the first k to the last and meets no other.
//
// Numerics: each element is a chain over the k of a block, the blocks added in order, starting from the bias: the order
// depends on K alone.
#pragma once

#include "kernels/activations.hpp"
#include "kernels/matrix_tiles.hpp"
#include "parallel.hpp"

namespace softstep {

// What becomes of the sums: with `add` they are added to the output, else to the bias, where there is one.
template <class T>
struct Finish {
  const T* bias = nullptr;
  Activation activation = Activation::none;
  bool add = false;
};

// What threads share out of a large product: groups of columns, or rows, all groups of which each then packs for
// itself. Lines that another processor has written are slow to read: outputs of a layer that are columns of its
// product, rows of its weights and rows of their gradient should be one thread's, as they are in an optimizer's step.
enum class Share { columns, rows };

template <class T>
void matrix_product(T* out, const Operand<T>& a, const Operand<T>& b, int64_t M, int64_t N, int64_t K,
                    const Finish<T>& finish, int threads, Share share = Share::columns);

}  // namespace softstep
