// A block of `lanes` rows to columns and back: with rows in the lanes, what is done along short rows vectorises.
#pragma once

#include "simd/vec.hpp"

namespace softstep {

// `count` rows (up to `lanes`), `stride` apart, into columns[0 .. width - 1]; rows beyond `count` are zero. Columns
// come in whole blocks: there must be room up to the next multiple of `lanes`, and what is beyond `width` is of no
// meaning.
template <class T>
SOFTSTEP_INLINE void load_columns(Vec<T>* columns, const T* rows, int64_t stride, int count, int width) {
  constexpr int L = lanes<T>;
  for (int first = 0; first < width; first += L) {
    const int some = width - first < L ? width - first : L;
    Vec<T> block[L];
    if (count == L && some == L) {
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) block[r] = load(rows + r * stride + first);
    } else if (count == L) {
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) block[r] = load_partial(rows + r * stride + first, some);
    } else {
      for (int r = 0; r < L; ++r) block[r] = r < count ? load_partial(rows + r * stride + first, some) : Vec<T>{};
    }
    transpose<T>(block);
#pragma GCC unroll 16
    for (int c = 0; c < L; ++c) columns[first + c] = block[c];
  }
}

template <class T>
SOFTSTEP_INLINE void store_columns(T* rows, int64_t stride, const Vec<T>* columns, int count, int width) {
  constexpr int L = lanes<T>;
  for (int first = 0; first < width; first += L) {
    const int some = width - first < L ? width - first : L;
    Vec<T> block[L];
#pragma GCC unroll 16
    for (int c = 0; c < L; ++c) block[c] = columns[first + c];
    transpose<T>(block);
    if (count == L && some == L) {
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) store(rows + r * stride + first, block[r]);
    } else if (count == L) {
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) store_partial(rows + r * stride + first, block[r], some);
    } else {
      for (int r = 0; r < count; ++r) store_partial(rows + r * stride + first, block[r], some);
    }
  }
}

}  // namespace softstep
