#include "kernels/linear.hpp"

#include <algorithm>

#include "kernels/linear_tiles.hpp"
#include "kernels/matrix_product.hpp"
#include "simd/columns.hpp"

namespace softstep {

namespace {

constexpr int64_t rows_per_task = 4 * tile_rows;
constexpr int64_t chain_rows = 16 * tile_rows;  // of one unbroken sum

double nanoseconds(int64_t N, int64_t K, int64_t C) {
  return static_cast<double>(N) * static_cast<double>(K) * (0.03 * static_cast<double>(C) + 0.1);
}

template <class T>
void add(T* sum, const T* term, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

// Tiles of rows begin .. end: visit(tile, its first row).
template <class T, class Visit>
void for_row_tiles(const T* x, int64_t K, int64_t begin, int64_t end, Visit visit) {
  const void* pointers[2][tile_rows];
  const auto point = [&](const void** rows, int64_t first) {
    for (int r = 0; r < tile_rows; ++r) rows[r] = x + std::min(first + r, end - 1) * K;
  };
  int side = 0;
  point(pointers[0], begin);
  for (int64_t row = begin; row < end; row += tile_rows, side = !side) {
    const bool more = row + tile_rows < end;
    if (more) point(pointers[!side], row + tile_rows);
    TileRows tile{pointers[side], more ? pointers[!side] : nullptr,
                  static_cast<int>(std::min<int64_t>(tile_rows, end - row))};
    visit(tile, row);
  }
}

template <class T>
void narrow_forward(T* logits, const T* x, const T* weight, const T* bias, int64_t N, int64_t K, int64_t C,
                    int threads) {
  const LinearTiles<T> tiles = linear_tiles<T>(feature_of<T>(), false);
  const LinearShape<T> shape = linear_shape<T>(x, K * static_cast<int64_t>(sizeof(T)), feature_of<T>(), K, C);
  const Scratch<T> packed(static_cast<std::size_t>(C * shape.stride));
  pack_weight(packed.data(), weight, shape, K);
  const Team team(threads, nanoseconds(N, K, C));
  for_tiles((N + rows_per_task - 1) / rows_per_task, team, [&](int64_t task, int) {
    alignas(64) T tile[narrow_outputs * tile_rows];
    for_row_tiles(
        x, K, task * rows_per_task, std::min((task + 1) * rows_per_task, N), [&](TileRows& rows, int64_t row) {
          tiles.forward(tile, rows, packed.data(), bias, shape);
          for (int r = 0; r < rows.count; r += lanes<T>)
            store_columns<T>(logits + (row + r) * C, C, reinterpret_cast<const Vec<T>*>(tile + tile_place<T>(r, 0, C)),
                             std::min(lanes<T>, rows.count - r), static_cast<int>(C));
        });
  });
}

template <class T>
void narrow_backward(T* dweight, T* dbias, const T* x, const T* dlogits, int64_t N, int64_t K, int64_t C, int threads) {
  const LinearTiles<T> tiles = linear_tiles<T>(feature_of<T>(), false);
  const LinearShape<T> shape = linear_shape<T>(x, K * static_cast<int64_t>(sizeof(T)), feature_of<T>(), K, C);
  const RowGroups groups(N);
  const int64_t size = C * shape.stride;
  const Scratch<T> partial(static_cast<std::size_t>(std::max<int64_t>(groups.count, 1) * size));
  const Scratch<T> partial_bias(static_cast<std::size_t>(groups.count * C));
  const Team team(threads, nanoseconds(N, K, C));
  const Scratch<T> chains(static_cast<std::size_t>(team.threads() * (size + C)));
  for_tiles(groups.count, team, [&](int64_t group, int thread, Interrupt& interrupt) {
    alignas(64) T tile[narrow_outputs * tile_rows];
    T* const sum = partial.data() + group * size;
    T* const bias_sum = partial_bias.data() + group * C;
    T* const chain = chains.data() + thread * (size + C);
    const int64_t begin = group * groups.height, end = std::min(begin + groups.height, N);
    for (int64_t first = begin; first < end && !interrupt.check(thread); first += chain_rows) {
      const bool start = first == begin;  // later chains are summed apart, so that none is long
      T* const into = start ? sum : chain;
      T* const bias_into = start ? bias_sum : chain + size;
      for_row_tiles(x, K, first, std::min(first + chain_rows, end), [&](TileRows& rows, int64_t row) {
        for (int r = 0; r < rows.count; r += lanes<T>)
          load_columns<T>(reinterpret_cast<Vec<T>*>(tile + tile_place<T>(r, 0, C)), dlogits + (row + r) * C, C,
                          std::min(lanes<T>, rows.count - r), static_cast<int>(C));
        tiles.backward(into, bias_into, rows, tile, shape, row == first);
      });
      if (!start) {
        add(sum, chain, size);
        add(bias_sum, chain + size, C);
      }
    }
  });
  if (N == 0) {
    std::fill(dweight, dweight + C * K, T(0));
    std::fill(dbias, dbias + C, T(0));
    return;
  }
  for (int64_t step = 1; step < groups.count; step *= 2)
    for (int64_t g = 0; g + step < groups.count; g += 2 * step) {
      add(partial.data() + g * size, partial.data() + (g + step) * size, size);
      add(partial_bias.data() + g * C, partial_bias.data() + (g + step) * C, C);
    }
  unpack_weight(dweight, partial.data(), shape);
  std::memcpy(dbias, partial_bias.data(), static_cast<std::size_t>(C) * sizeof(T));
}

// dx of few classes: every row is a sum of C rows of weights.
template <class T>
void narrow_input_gradient(T* dx, const T* weight, const T* dlogits, int64_t N, int64_t K, int64_t C, int threads) {
  constexpr int L = lanes<T>, R = 4;
  const Team team(threads, nanoseconds(N, K, C));
  for_tiles((N + rows_per_task - 1) / rows_per_task, team, [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * rows_per_task, N);
    for (int64_t row = task * rows_per_task; row < end; row += R) {
      const int rows = static_cast<int>(std::min<int64_t>(R, end - row));
      for (int64_t k = 0; k < K; k += L) {
        const int some = static_cast<int>(std::min<int64_t>(L, K - k));
        Vec<T> sum[R] = {};
        for (int64_t c = 0; c < C; ++c) {
          const Vec<T> w = load_partial(weight + c * K + k, some);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r)
            sum[r] = fma<T>(w, broadcast<T>(dlogits[(row + std::min(r, rows - 1)) * C + c]), sum[r]);
        }
        for (int r = 0; r < rows; ++r) store_partial(dx + (row + r) * K + k, sum[r], some);
      }
    }
  });
}

// Sums of the columns in double, by groups of rows and a tree over them.
template <class T>
void column_sums(T* out, const T* a, int64_t rows, int64_t columns, int threads) {
  const RowGroups groups(rows);
  std::vector<double> partial(static_cast<std::size_t>(std::max<int64_t>(groups.count, 1) * columns));
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(columns) * 0.2);
  for_tiles(groups.count, team, [&](int64_t group, int) {
    double* sum = partial.data() + group * columns;
    for (int64_t row = group * groups.height; row < std::min((group + 1) * groups.height, rows); ++row)
      for (int64_t c = 0; c < columns; ++c) sum[c] += static_cast<double>(a[row * columns + c]);
  });
  for (int64_t step = 1; step < groups.count; step *= 2)
    for (int64_t g = 0; g + step < groups.count; g += 2 * step)
      add(partial.data() + g * columns, partial.data() + (g + step) * columns, columns);
  for (int64_t c = 0; c < columns; ++c) out[c] = static_cast<T>(partial[static_cast<std::size_t>(c)]);
}

}  // namespace

template <class T>
void linear_forward(T* logits, const T* x, const T* weight, const T* bias, int64_t N, int64_t K, int64_t C,
                    int threads) {
  if (C <= narrow_outputs) narrow_forward(logits, x, weight, bias, N, K, C, threads);
  else matrix_product<T>(logits, {x, K, 1}, {weight, K, 1}, bias, N, C, K, threads);
}

template <class T>
void linear_backward(T* dx, T* dweight, T* dbias, const T* x, const T* weight, const T* dlogits, int64_t N, int64_t K,
                     int64_t C, int threads) {
  if (C <= narrow_outputs) {
    narrow_input_gradient(dx, weight, dlogits, N, K, C, threads);
    narrow_backward(dweight, dbias, x, dlogits, N, K, C, threads);
  } else {
    matrix_product<T>(dx, {dlogits, C, 1}, {weight, 1, K}, nullptr, N, K, C, threads);
    matrix_product<T>(dweight, {dlogits, 1, C}, {x, 1, K}, nullptr, C, K, N, threads);
    column_sums(dbias, dlogits, N, C, threads);
  }
}

template void linear_forward(float*, const float*, const float*, const float*, int64_t, int64_t, int64_t, int);
template void linear_forward(double*, const double*, const double*, const double*, int64_t, int64_t, int64_t, int);
template void linear_backward(float*, float*, float*, const float*, const float*, const float*, int64_t, int64_t,
                              int64_t, int);
template void linear_backward(double*, double*, double*, const double*, const double*, const double*, int64_t, int64_t,
                              int64_t, int);

}  // namespace softstep
