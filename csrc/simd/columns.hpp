// A block of `lanes` rows to columns and back: with rows in the lanes, what is done along short rows vectorises.
#pragma once

#include "simd/vec.hpp"

namespace softstep {

// `count` rows (up to `lanes`), `stride` apart, into columns[0 .. width - 1]; rows beyond `count` are zero. Columns
// come in whole blocks: there must be room up to the next multiple of `lanes`, and what is beyond `width` is of no
// meaning. Width is the width where it is known at compile time: the columns then stay in registers.
template <class T, int Width = 0>
SOFTSTEP_INLINE void load_columns(Vec<T>* columns, const T* rows, int64_t stride, int count, int width) {
  constexpr int L = lanes<T>;
  repeat<(Width + L - 1) / L>((width + L - 1) / L, [&](int number) SOFTSTEP_INLINE_LAMBDA {
    const int first = number * L, some = width - first < L ? width - first : L;
    const T* const from = rows + first;
    Vec<T> block[L];
    if (count == L && some == L) {
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { block[r] = load(from + r * stride); });
    } else if (count == L) {
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { block[r] = load_partial(from + r * stride, some); });
    } else {
      Vec<T> part[L] = {};
      for (int r = 0; r < count; ++r) part[r] = load_partial(from + r * stride, some);
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { block[r] = part[r]; });
    }
    transpose<T>(block);
    repeat<L>(L, [&](int c) SOFTSTEP_INLINE_LAMBDA { columns[first + c] = block[c]; });
  });
}

namespace detail {

// Of rows of W elements without a gap, the part of column C that lies in vector J, into the lanes it belongs to.
template <class T, int W, int C, int J, std::size_t... R>
SOFTSTEP_INLINE Vec<T> pick_column(Vec<T> before, Vec<T> v, std::index_sequence<R...>) {
  constexpr int n = lanes<T>;
  return __builtin_shufflevector(before, v, ((int(R) * W + C) / n == J ? n + (int(R) * W + C) % n : int(R))...);
}

template <class T, int W, int C, std::size_t... J>
SOFTSTEP_INLINE Vec<T> column_of(const Vec<T>* v, std::index_sequence<J...>) {
  Vec<T> column = v[0];
  ((column = pick_column<T, W, C, static_cast<int>(J)>(column, v[J], std::make_index_sequence<lanes<T>>())), ...);
  return column;
}

template <class T, int W, std::size_t... C>
SOFTSTEP_INLINE void split_columns(Vec<T>* columns, const Vec<T>* v, std::index_sequence<C...>) {
  ((columns[C] = column_of<T, W, static_cast<int>(C)>(v, std::make_index_sequence<W>())), ...);
}

}  // namespace detail

// As load_columns for a whole block of rows of W elements, one after the other without a gap.
template <class T, int W>
SOFTSTEP_INLINE void load_adjoining_columns(Vec<T>* columns, const T* rows) {
  Vec<T> v[W];
  for (int j = 0; j < W; ++j) v[j] = load(rows + j * lanes<T>);
  detail::split_columns<T, W>(columns, v, std::make_index_sequence<W>());
}

template <class T, int Width = 0>
SOFTSTEP_INLINE void store_columns(T* rows, int64_t stride, const Vec<T>* columns, int count, int width) {
  constexpr int L = lanes<T>;
  repeat<(Width + L - 1) / L>((width + L - 1) / L, [&](int number) SOFTSTEP_INLINE_LAMBDA {
    const int first = number * L, some = width - first < L ? width - first : L;
    T* const to = rows + first;
    Vec<T> block[L];
    repeat<L>(L, [&](int c) SOFTSTEP_INLINE_LAMBDA {
      block[c] = Width == 0 || first + c < Width ? columns[first + c] : Vec<T>{};
    });
    transpose<T, true>(block);
    if (count == L && some == L) {
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { store(to + r * stride, block[r]); });
    } else if (count == L) {
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { store_partial(to + r * stride, block[r], some); });
    } else {
      Vec<T> part[L];
      repeat<L>(L, [&](int r) SOFTSTEP_INLINE_LAMBDA { part[r] = block[r]; });
      for (int r = 0; r < count; ++r) store_partial(to + r * stride, part[r], some);
    }
  });
}

}  // namespace softstep
