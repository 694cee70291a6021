// The inner part of every large matrix product: a strip of up to 8 rows times a panel of up to 3 vectors of columns, in
// registers.
//
//     sum[r][j] = sum_k a[r][k] b[j][k]          r < 8,  j < 3 lanes
//
// b is packed into panels [k][panel columns], so that a vector of columns is one aligned load; a is copied row by row,
// so that rows lie neither in each other's cache sets nor on many pages, and read one number at a time, broadcast.
// Panels are wide and strips low, which takes fewer broadcasts per multiply-add: 3 loads and 8 broadcasts for 24 of
// them. A strip of depth 512 fits the first-level cache, and a group of panels of that depth the second: whoever drives
// this keeps a group while it goes over the strips, and a strip while it goes over the group.
//
// Numerics: each element is one chain over k. Rows and columns beyond the end multiply zeros or repeat a row, and are
// not stored.
#pragma once

#include <algorithm>

#include "kernels/features.hpp"
#include "simd/columns.hpp"

namespace softstep {

#if defined(__AVX512F__)
inline constexpr int strip_rows = 8, panel_vectors = 3;
#elif defined(__AVX2__)
inline constexpr int strip_rows = 4, panel_vectors = 3;
#else
inline constexpr int strip_rows = 4, panel_vectors = 2;
#endif
template <class T>
inline constexpr int panel_columns = panel_vectors * lanes<T>;
template <class T>
inline constexpr int64_t block_depth = 2048 / static_cast<int64_t>(sizeof(T));  // of k
inline constexpr int64_t fetch_every = 4;   // k: multiply-adds take longer than a line from memory
inline constexpr int64_t group_panels = 4;  // packed together, they share the second-level cache

constexpr int64_t blocks_of(int64_t size, int64_t block) { return (size + block - 1) / block; }

// Element (i, k) of a matrix is data[i * row + k * col], of any feature type; one of the strides is 1. Along the other
// axis `order`, where it is given, says which row of memory is meant. Features run along the axis of stride 1: a
// feature f becomes f scale + shift (both or neither).
template <class T>
struct Operand {
  const void* data;
  int64_t row, col;
  Feature feature = feature_of<T>();
  const int64_t* order = nullptr;
  const T *scale = nullptr, *shift = nullptr;
  bool rows_adjoin = row == 1 && col != 1;  // where both strides are 1 it must be said

  int64_t stride() const { return rows_adjoin ? col : row; }  // of the other axis
};

// Rows of features as the rows of a matrix, or as its columns.
template <class T>
Operand<T> as_rows(const Features<T>& x) {
  return {x.data, x.row_stride(), 1, x.type, x.order, x.scale, x.shift, false};
}
template <class T>
Operand<T> as_columns(const Features<T>& x) {
  return {x.data, 1, x.row_stride(), x.type, x.order, x.scale, x.shift, true};
}

// Columns cut into panels, all of the full width but the last; where that would be a single vector, which multiplies at
// half the speed, the two last ones have two.
template <class T>
struct Panels {
  int64_t columns;

  int64_t count() const { return blocks_of(columns, panel_columns<T>); }
  // Its first column; of the panel after the last, the end.
  int64_t begin(int64_t panel) const {
    const bool shared = panel_vectors == 3 && blocks_of(columns, lanes<T>) % 3 == 1;
    if (panel == count()) return columns;
    return panel * panel_columns<T> - (shared && panel > 0 && panel == count() - 1 ? lanes<T> : 0);
  }
};

// Panels from .. to (at most group_panels) of b's rows first, first + 1, ..., elements begin .. end - 1, to
// out[panel][k][panel_columns]. What a panel lacks of its full width is zero.
template <class T>
void pack_panels(T* out, const Operand<T>& b, int64_t first, const Panels<T>& panels, int64_t from, int64_t to,
                 int64_t begin, int64_t end);

// Rows of a copy are this far apart: vectors are aligned, and no two of a strip fall into the same sets of the cache.
template <class T>
constexpr int64_t copied_stride(int64_t depth) {
  return blocks_of(depth, lanes<T>) * lanes<T> + lanes<T>;
}

// a's rows first .. first + count - 1, elements begin .. begin + depth - 1, to out[row][copied_stride]. So many rows
// follow, which are likely to be next.
template <class T>
void copy_rows(T* out, const Operand<T>& a, int64_t first, int64_t count, int64_t begin, int64_t depth,
               int64_t following = 0);

// Do rows so many elements apart neither share cache sets, if they adjoin, nor lie a page apart?
template <class T>
constexpr bool spread_out(int64_t stride) {
  constexpr int64_t page = 4096, line = 64;
  const int64_t apart = stride * static_cast<int64_t>(sizeof(T)) % page;
  return apart >= 4 * line && apart <= page - 4 * line;
}

// Up to strip_rows rows of a: `stride` apart from the first, or where `at` says; and places to fetch meanwhile, one for
// every fetch_every k of a panel.
template <class T>
struct Strip {
  const T* first;
  int64_t stride;
  const T* const* at;
  const void* const* next;

  Strip from(int r) const { return {at ? nullptr : first + r * stride, stride, at ? at + r : nullptr, next}; }
};

// The sums of R rows and V vectors of a panel over `depth`; Apart: the strip has `at`.
template <class T, int R, int V, bool Apart>
SOFTSTEP_INLINE void multiply(Vec<T> (&sum)[R][V], const Strip<T>& strip, const T* b, int64_t depth) {
  constexpr int L = lanes<T>, P = panel_columns<T>;
  const T* const a = strip.first;
  const int64_t stride = strip.stride;
  const T* rows[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    rows[r] = Apart ? strip.at[r] : nullptr;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = Vec<T>{};
  }
  const void* const* next = strip.next;
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k, b += P) {
    if (k % fetch_every == 0) prefetch(*next++);
    Vec<T> x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) x[v] = load(b + v * L);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<T> y = broadcast<T>(Apart ? rows[r][k] : a[r * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(y, x[v], sum[r][v]);
    }
  }
}

// `count` rows times a panel of `columns` columns: visit(first row, sums) once for every block of rows, the number of
// rows and of vectors known at compile time.
template <class T, class Visit>
SOFTSTEP_INLINE void multiply_strip(const Strip<T>& strip, int count, const T* b, int64_t depth, int columns,
                                    Visit visit) {
  int r = 0;
  const auto block = [&]<int R, int V>(std::integral_constant<int, R>, std::integral_constant<int, V>) {
    for (; r + R <= count; r += R) {
      Vec<T> sum[R][V];
      if (strip.at) multiply<T, R, V, true>(sum, strip.from(r), b, depth);
      else multiply<T, R, V, false>(sum, strip.from(r), b, depth);
      visit(r, sum);
    }
  };
  const auto height = [&]<int V>(std::integral_constant<int, V> vectors) {
    block(std::integral_constant<int, strip_rows>{}, vectors);
    if constexpr (strip_rows > 4) block(std::integral_constant<int, 4>{}, vectors);
    block(std::integral_constant<int, 1>{}, vectors);
  };
  if (columns > 2 * lanes<T>) height(std::integral_constant<int, panel_vectors>{});
  else if (columns > lanes<T>) height(std::integral_constant<int, 2>{});
  else height(std::integral_constant<int, 1>{});
}

}  // namespace softstep
