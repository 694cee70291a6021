#include "kernels/softmax.hpp"

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

template <class T>
void softmax_forward(T* out, const T* logits, int64_t rows, int64_t columns, int threads) {
  for_rows<T>(
      rows, columns, threads,
      [=](int64_t row, int count) {
        const int width = static_cast<int>(columns);
        Vec<T> x[narrow_columns];
        load_columns<T>(x, logits + row * columns, columns, count, width);
        const Vec<T> scale = T(1) / exp_columns<T, true>(x, width).total();
        for (int c = 0; c < width; ++c) x[c] *= scale;
        store_columns<T>(out + row * columns, columns, x, count, width);
      },
      [=](int64_t row) {
        T* y = out + row * columns;
        const T scale = T(1) / exp_row<T, true>(y, logits + row * columns, columns).total();
        for (int64_t c = 0; c < columns; ++c) y[c] *= scale;
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
