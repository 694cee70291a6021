#include "kernels/softmax.hpp"

#include <array>

#include "kernels/exp_sums.hpp"
#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// narrow(first row, how many, columns in lanes) and wide(row).
template <class T, class Narrow, class Wide>
void for_rows(int64_t rows, int64_t columns, int threads, Narrow narrow, Wide wide) {
  const RowTiles tiles(rows, columns);
  const Team team(threads, tiles.exp_nanoseconds(sizeof(T)));
  for_tiles(tiles.count, team, [&](int64_t tile, int) {
    const int64_t begin = tiles.begin(tile), end = tiles.end(tile);
    if (columns <= narrow_columns) {
      for (int64_t row = begin; row < end; row += lanes<T>)
        narrow(row, static_cast<int>(end - row < lanes<T> ? end - row : lanes<T>));
    } else {
      for (int64_t row = begin; row < end; ++row) wide(row);
    }
  });
}

}  // namespace

namespace {

// Some blocks of `lanes` rows (the last with `count`): each stage for all of them, so that one block's divisions and
// stores do not wait for its exponentials alone. W is the width where it is known at compile time, else 0.
template <class T, int W, int Blocks>
SOFTSTEP_INLINE void softmax_blocks(T* out, const T* logits, int width, int count) {
  constexpr int room = W ? (W + lanes<T> - 1) / lanes<T> * lanes<T> : narrow_columns;
  Vec<T> x[Blocks][room], scale[Blocks];
  const int64_t step = int64_t{lanes<T>} * width;
  repeat<Blocks>(
      Blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA { load_columns<T, W>(x[b], logits + b * step, width, count, width); });
  repeat<Blocks>(Blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA { scale[b] = T(1) / exp_total<T, W>(x[b], width); });
  repeat<Blocks>(Blocks, [&](int b) SOFTSTEP_INLINE_LAMBDA {
    repeat<W>(width, [&](int c) SOFTSTEP_INLINE_LAMBDA { x[b][c] *= scale[b]; });
    store_columns<T, W>(out + b * step, width, x[b], count, width);
  });
}

// The rows begin .. end - 1 of a narrow matrix.
template <class T, int W>
void softmax_narrow(T* out, const T* logits, int64_t columns, int64_t begin, int64_t end) {
  constexpr int L = lanes<T>;
  const int width = W ? W : static_cast<int>(columns);
  int64_t row = begin;
  if constexpr (W > 0) {
    for (; row + 2 * L <= end; row += 2 * L) softmax_blocks<T, W, 2>(out + row * width, logits + row * width, width, L);
  }
  for (; row < end; row += L)
    softmax_blocks<T, W, 1>(out + row * width, logits + row * width, width,
                            static_cast<int>(end - row < L ? end - row : L));
}

template <class T>
using Narrow = void (*)(T*, const T*, int64_t, int64_t, int64_t);

// The function for this width.
template <class T>
Narrow<T> softmax_narrow_of(int64_t columns) {
  constexpr int most = 16;
  static constexpr auto table = []<int... W>(std::integer_sequence<int, W...>) {
    return std::array<Narrow<T>, most + 1>{softmax_narrow<T, W>...};
  }(std::make_integer_sequence<int, most + 1>{});
  return table[columns <= most ? static_cast<std::size_t>(columns) : 0];
}

}  // namespace

template <class T>
void softmax_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads) {
  const RowTiles tiles(rows, columns);
  const Team team(threads, tiles.exp_nanoseconds(sizeof(T)));
  for_tiles(tiles.count, team, [&](int64_t tile, int) {
    const int64_t begin = tiles.begin(tile), end = tiles.end(tile);
    if (columns <= narrow_columns) {
      softmax_narrow_of<T>(columns)(out, logits, columns, begin, end);
    } else {
      for (int64_t row = begin; row < end; ++row) {
        T* y = out + row * columns;
        const T scale = T(1) / exp_row<T, true>(y, logits + row * columns, columns).total();
        for (int64_t c = 0; c < columns; ++c) y[c] *= scale;
      }
    }
  });
}

template <class T>
void log_softmax_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads) {
  for_rows<T>(
      rows, columns, threads,
      [=](int64_t row, int count) {
        const int width = static_cast<int>(columns);
        Vec<T> x[narrow_columns];
        load_columns<T>(x, logits + row * columns, columns, count, width);
        const LaneSums<T> sums = exp_columns<T, false>(x, width);
        const Vec<T> log_total = sums.log_total();
        for (int c = 0; c < width; ++c) x[c] = x[c] - sums.max - log_total;
        store_columns<T>(out + row * columns, columns, x, count, width);
      },
      [=](int64_t row) {
        const T* x = logits + row * columns;
        T* y = out + row * columns;
        const RowSums<T> sums = exp_row<T, false>(nullptr, x, columns);
        const T log_total = sums.log_total();
        for (int64_t c = 0; c < columns; ++c) y[c] = x[c] - sums.max - log_total;
      });
}

template <class T>
void logsumexp_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads) {
  for_rows<T>(
      rows, columns, threads,
      [=](int64_t row, int count) {
        const int width = static_cast<int>(columns);
        Vec<T> x[narrow_columns];
        load_columns<T>(x, logits + row * columns, columns, count, width);
        const LaneSums<T> sums = exp_columns<T, false>(x, width);
        store_partial(out + row, sums.max + log1p<T>(sums.others), count);
      },
      [=](int64_t row) { out[row] = exp_row<T, false>(nullptr, logits + row * columns, columns).logsumexp(); });
}

template void softmax_forward(float*, const float*, int64_t, int64_t, int);
template void softmax_forward(double*, const double*, int64_t, int64_t, int);
template void log_softmax_forward(float*, const float*, int64_t, int64_t, int);
template void log_softmax_forward(double*, const double*, int64_t, int64_t, int);
template void logsumexp_forward(float*, const float*, int64_t, int64_t, int);
template void logsumexp_forward(double*, const double*, int64_t, int64_t, int);

}  // namespace softstep
