// Softmax of narrow rows, up to narrow_columns: the two ways that are made for speed. softmax.cpp chooses.
//
// Up to few_columns, rows stand in the lanes: a function for each width keeps two blocks of rows in registers, where
// transposing them costs about half of all. From many_columns on, rows are worked on along the row, a few vectors each,
// and only what a row comes down to (maximum, sum) is brought into lanes, one row in each. Vectors are added four at a
// time: added one after the other, 64 of two doubles lose more than the bound allows, once in thousands of rows.
#pragma once

#include <array>
#include <limits>

#include "kernels/exp_sums.hpp"
#include "kernels/strided.hpp"

namespace softstep {

inline constexpr int few_columns = 16, many_columns = 33;

// Two blocks of `lanes` rows of W columns, from `row` on: each stage for both, so that one block's division and stores
// do not wait for its exponentials alone.
template <class T, int W>
SOFTSTEP_INLINE void softmax_two_blocks(T* out, const Strided<T>& logits, int64_t row) {
  constexpr int L = lanes<T>, blocks = 2;
  Vec<T> x[blocks][(W + L - 1) / L * L], factor[blocks];
  repeat<blocks>(blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA {
    load_columns<T, W>(x[b], logits.at(row + b * L, 0), logits.outer, L, W);
  });
  repeat<blocks>(blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA { factor[b] = T(1) / exp_total<T, W>(x[b], W); });
  repeat<blocks>(blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA {
    repeat<W>(W, [&](int c) SOFTSTEP_INLINE_LAMBDA { x[b][c] *= factor[b]; });
    store_columns<T, W>(out + (row + b * L) * W, W, x[b], L, W);
  });
}

// As many of the rows begin .. end - 1, of few columns, as fill pairs of blocks; returns where it stops.
template <class T>
int64_t softmax_of_few(T* out, const Strided<T>& logits, int64_t columns, int64_t begin, int64_t end) {
  using Rows = int64_t (*)(T*, const Strided<T>&, int64_t, int64_t);
  static constexpr auto of_width = []<int... W>(std::integer_sequence<int, W...>) {
    return std::array<Rows, sizeof...(W)>{[](T* to, const Strided<T>& from, int64_t row, int64_t last) {
      for (; row + 2 * lanes<T> <= last; row += 2 * lanes<T>) softmax_two_blocks<T, W + 1>(to, from, row);
      return row;
    }...};
  }(std::make_integer_sequence<int, few_columns>{});
  return of_width[static_cast<std::size_t>(columns - 1)](out, logits, begin, end);
}

// `count` rows (up to `lanes`) of `width` columns, many_columns <= width <= narrow_columns.
template <class T, class Scale>
void softmax_block(T* y, const T* x, int64_t stride, int width, int count, Scale scale) {
  constexpr int L = lanes<T>;
  const int vectors = (width + L - 1) / L, last = (vectors - 1) * L, groups = (vectors - 1) / 4;
  const auto inside = lane_numbers<T>() < static_cast<Int<T>>(width - last);
  const Vec<T> lowest = broadcast<T>(-std::numeric_limits<T>::infinity());
  Vec<T> part[L], kept[narrow_columns];  // exponentials: whole vectors, so that loads find what stores have just left
  T lane[L];

  for (int r = 0; r < L; ++r) {
    const T* const row = x + (r < count ? r : 0) * stride;
    Vec<T> max = select<T>(inside, load_partial(row + last, width - last), lowest);
    for (int i = 0; i < last; i += L) max = larger<T>(load(row + i), max);
    part[r] = max;
  }
  store(lane, row_maxima<T>(part));

  for (int r = 0; r < L; ++r) part[r] = Vec<T>{};
  for (int r = 0; r < count; ++r) {
    const T* const row = x + r * stride;
    Vec<T>* const to = kept + r * vectors;
    const Vec<T> max = broadcast<T>(lane[r]);
    Vec<T> sum{};
    // While it computes, the block after this one and this one's results are fetched: 0.7 of the time without.
    for (int i = 0; i < width; i += 64 / static_cast<int>(sizeof(T))) {
      prefetch_soon(row + L * stride + i);
      prefetch_to_write(y + r * width + i);
    }
    for (int i = 0; i < groups * 4 * L; i += 4 * L) {
      Vec<T> e[4];
      repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { e[u] = scale(load(row + i + u * L) - max); });
      exp_to_one<T, 4>(e);
      repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { to[i / L + u] = e[u]; });
      sum += sum_of_four<T>(e);
    }
    // The last one to four vectors, the last of them with some lanes only; 0 in the others' exponents, as exponentials
    // that underflow are slow.
    const auto end = [&]<int N>(std::integral_constant<int, N>) SOFTSTEP_INLINE_LAMBDA {
      const T* const from = row + last - (N - 1) * L;
      Vec<T>* const end_to = to + vectors - N;
      Vec<T> e[N], terms[4] = {};
      repeat<N>(N, [&](int u) SOFTSTEP_INLINE_LAMBDA {
        const Vec<T> v =
            u < N - 1 ? load(from + u * L) : select<T>(inside, load_partial(from + u * L, width - last), max);
        e[u] = scale(v - max);
      });
      exp_to_one<T, N>(e);
      repeat<N>(N, [&](int u) SOFTSTEP_INLINE_LAMBDA {
        terms[u] = u < N - 1 ? e[u] : select<T>(inside, e[u], Vec<T>{});
        end_to[u] = e[u];
      });
      sum += sum_of_four<T>(terms);
    };
    const int rest = vectors - groups * 4;
    if (rest == 1) end(std::integral_constant<int, 1>{});
    else if (rest == 2) end(std::integral_constant<int, 2>{});
    else if (rest == 3) end(std::integral_constant<int, 3>{});
    else end(std::integral_constant<int, 4>{});
    part[r] = sum;
  }
  store(lane, T(1) / row_sums<T>(part));

  for (int r = 0; r < count; ++r) {
    T* const row = y + r * width;
    const Vec<T>* const from = kept + r * vectors;
    for (int v = 0; v < vectors - 1; ++v) store(row + v * L, from[v] * lane[r]);
    store_partial(row + last, from[vectors - 1] * lane[r], width - last);
  }
}

template <class T, class Scale>
void softmax_rows(T* out, const Strided<T>& logits, int width, int64_t begin, int64_t end, Scale scale) {
  constexpr int L = lanes<T>;
  for (int64_t row = begin; row < end; row += L)
    softmax_block<T>(out + row * width, logits.at(row, 0), logits.outer, width,
                     static_cast<int>(end - row < L ? end - row : L), scale);
}

// exp_total (exp_sums.hpp) with the additions of softmax_block: what stand in the lanes there are columns here.
template <class T, class Scale>
Vec<T> exp_total_of_many(Vec<T>* columns, int width, Scale scale) {
  constexpr int L = lanes<T>;
  Vec<T> sums[L] = {};
  for_exp_of_columns<T, 0>(
      columns, width, max_of_columns<T>(columns, width), scale,
      [&](int first, int i, Vec<T> e) SOFTSTEP_INLINE_LAMBDA { columns[first + i] = e; }, [] {});
  for (int c = 0; c < width; c += 4 * L)
    for (int i = c; i < c + L && i < width; ++i) {
      Vec<T> terms[4] = {};
      repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { terms[u] = i + u * L < width ? columns[i + u * L] : Vec<T>{}; });
      sums[i - c] += sum_of_four<T>(terms);
    }
  for (int step = L / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) sums[i] += sums[i + step];
  return sums[0];
}

}  // namespace softstep
