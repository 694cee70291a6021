#include "kernels/linear.hpp"

#include <cstring>

#include "kernels/column_sums.hpp"
#include "kernels/linear_dots.hpp"
#include "kernels/linear_lanes.hpp"
#include "kernels/linear_tiles.hpp"
#include "kernels/matrix_product.hpp"
#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// Rows that a thread takes at once: tiles enough to be worth it, and tasks enough for all threads.
int64_t rows_per_task(int64_t N) { return std::clamp<int64_t>(blocks_of(N, 16 * 16) * 16, 16, 4 * tile_rows); }
constexpr int64_t chain_rows = 16 * tile_rows;  // of one unbroken sum

double nanoseconds(int64_t N, int64_t K, int64_t C) {
  return static_cast<double>(N) * static_cast<double>(K) * (0.03 * static_cast<double>(C) + 0.1);
}

template <class T>
void add(T* sum, const T* term, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

template <class T>
Features<T> rows_of(const T* matrix, int64_t columns) {
  return {feature_of<T>(), matrix, columns * static_cast<int64_t>(sizeof(T)), columns};
}

template <class T>
struct Tiles {
  LinearShape<T> shape;
  LinearTiles<T> run;
  TileSource<T> source;

  Tiles(const Features<T>& x, int64_t outputs)
      : shape(linear_shape(x, outputs)), run(linear_tiles(x, outputs)), source(x) {}
  int64_t size() const { return shape.outputs * shape.stride; }
  // Elements that a thread needs of its own.
  int64_t scratch() const { return 2 * source.scratch(); }
};

// Rows `stride` apart in the order of the tiles, which each thread brings them into for itself: lines that another
// processor has written are not kept by a second-level cache, and read again and again, they come from there each time.
template <class T>
class Packed {
 public:
  Packed(const T* rows, int64_t stride, const Tiles<T>& tiles, int threads)
      : rows_(rows),
        stride_(stride),
        tiles_(tiles),
        copies_(static_cast<std::size_t>(threads * tiles.size())),
        own_(static_cast<std::size_t>(threads)) {
    const LinearShape<T>& shape = tiles.shape;  // one row of whole vectors is in that order already
    if (shape.outputs == 1 && shape.lead == 0 && shape.features == shape.stride) own_[0] = rows;
  }

  const T* of(int thread) {
    const T*& own = own_[static_cast<std::size_t>(thread)];
    if (!own) {
      T* const copy = copies_.data() + thread * tiles_.size();
      pack_weight(copy, rows_, tiles_.shape, stride_);
      own = copy;
    }
    return own;
  }

 private:
  const T* rows_;
  int64_t stride_;
  const Tiles<T>& tiles_;
  const Scratch<T> copies_;
  std::vector<const T*> own_;
};

// Tiles of rows begin .. end: visit(tile, its first row).
template <class T, class Visit>
void for_row_tiles(const TileSource<T>& source, T* scratch, int64_t begin, int64_t end, Visit visit) {
  const void* pointers[2][tile_rows];
  const auto point = [&](int side, int64_t first) {
    source.point(pointers[side], first, std::min<int64_t>(tile_rows, end - first), scratch + side * source.scratch());
  };
  int side = 0;
  point(side, begin);
  for (int64_t row = begin; row < end; row += tile_rows, side = !side) {
    const bool more = row + tile_rows < end;
    if (more) point(!side, row + tile_rows);
    TileRows tile{pointers[side], more ? pointers[!side] : nullptr,
                  static_cast<int>(std::min<int64_t>(tile_rows, end - row))};
    visit(tile, row);
  }
}

// The product of all rows of x with a few other rows, `stride` apart, a tile at a time: take(tile, first row, rows).
template <class T, class Take>
void for_products(const Features<T>& x, int64_t N, const T* others, int64_t stride, const T* bias,
                  const Tiles<T>& tiles, int threads, Take take) {
  const Team team(threads, nanoseconds(N, x.columns, tiles.shape.outputs));
  const Scratch<T> scratch(static_cast<std::size_t>(team.threads() * tiles.scratch()));
  Packed<T> packed(others, stride, tiles, team.threads());
  const int64_t height = rows_per_task(N);
  for_tiles(blocks_of(N, height), team, [&](int64_t task, int thread) {
    const T* const factors = packed.of(thread);
    alignas(64) T tile[narrow_outputs * tile_rows];
    for_row_tiles(tiles.source, scratch.data() + thread * tiles.scratch(), task * height,
                  std::min((task + 1) * height, N), [&](TileRows& rows, int64_t row) {
                    tiles.run.forward(tile, rows, factors, bias, tiles.shape);
                    take(tile, row, rows.count);
                  });
  });
}

// Few outputs.
template <class T>
void forward_to_few(T* logits, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C,
                    Activation activation, int threads) {
  const Tiles<T> tiles(x, C);
  for_products(x, N, weight, x.columns, bias, tiles, threads, [&](const T* tile, int64_t row, int rows) {
    for (int r = 0; r < rows; r += lanes<T>) {
      const Vec<T>* const columns = reinterpret_cast<const Vec<T>*>(tile + tile_place<T>(r, 0, C));
      const int some = std::min(lanes<T>, rows - r);
      if (C == 1) store_partial(logits + row + r, *columns, some);
      else store_columns<T>(logits + (row + r) * C, C, columns, some, static_cast<int>(C));
    }
    if (activation != Activation::none) activate_row(logits + row * C, rows * C, activation);
  });
}

// Few rows: the rows of the weight are multiplied with them.
template <class T>
void forward_from_few(T* logits, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C,
                      Activation activation, int threads) {
  const int64_t K = x.columns;
  const bool in_place = x.type == feature_of<T>() && !x.scale && !x.order;
  const int64_t stride = in_place ? x.row_stride() : copied_stride<T>(K);
  const Scratch<T> copy(static_cast<std::size_t>(in_place ? 0 : N * stride));
  if (!in_place) copy_rows(copy.data(), as_rows(x), 0, N, 0, K);
  const Features<T> rows = rows_of(weight, K);
  const Tiles<T> tiles(rows, N);
  const T* const few = in_place ? static_cast<const T*>(x.data) : copy.data();
  for_products<T>(rows, C, few, stride, nullptr, tiles, threads, [&](const T* tile, int64_t c, int count) {
    for (int r = 0; r < count; r += lanes<T>) {
      const int some = std::min(lanes<T>, count - r);
      const Vec<T> b = bias ? load_partial(bias + c + r, some) : Vec<T>{};
      for (int64_t n = 0; n < N; ++n)
        store_partial(logits + n * C + c + r, load(tile + tile_place<T>(r, n, N)) + b, some);
    }
    if (activation != Activation::none)
      for (int64_t n = 0; n < N; ++n) activate_row(logits + n * C + c, count, activation);
  });
}

// sums (C, K) = dlogits^T x of few outputs, and the sums of dlogits' columns; either may be null. Element (n, c) of
// dlogits is dlogits[n * row + c * col].
template <class T>
void outer_products(T* sums, T* column_sums, const Features<T>& x, const T* dlogits, int64_t row_stride, int64_t col,
                    int64_t N, int64_t C, int threads) {
  const Tiles<T> tiles(x, C);
  const RowGroups groups(N);
  const int64_t size = tiles.size();
  const Scratch<T> partial(static_cast<std::size_t>(std::max<int64_t>(groups.count, 1) * size));
  const Scratch<T> partial_columns(static_cast<std::size_t>(groups.count * C));
  const Team team(threads, nanoseconds(N, x.columns, C));
  const Scratch<T> chains(static_cast<std::size_t>(team.threads() * (size + C)));
  const Scratch<T> scratch(static_cast<std::size_t>(team.threads() * tiles.scratch()));
  for_tiles(groups.count, team, [&](int64_t group, int thread, Interrupt& interrupt) {
    alignas(64) T tile[narrow_outputs * tile_rows];
    T* const sum = partial.data() + group * size;
    T* const column_sum = partial_columns.data() + group * C;
    T* const chain = chains.data() + thread * (size + C);
    const int64_t begin = group * groups.height, end = std::min(begin + groups.height, N);
    for (int64_t first = begin; first < end && !interrupt.check(thread); first += chain_rows) {
      const bool start = first == begin;  // later chains are summed apart, so that none is long
      T* const into = start ? sum : chain;
      T* const columns_into = start ? column_sum : chain + size;
      T* const own = scratch.data() + thread * tiles.scratch();
      for_row_tiles(tiles.source, own, first, std::min(first + chain_rows, end), [&](TileRows& rows, int64_t row) {
        for (int r = 0; r < rows.count; r += lanes<T>) {
          const int some = std::min(lanes<T>, rows.count - r);
          const T* from = dlogits + (row + r) * row_stride;
          if (col == 1) {
            load_columns<T>(reinterpret_cast<Vec<T>*>(tile + tile_place<T>(r, 0, C)), from, row_stride, some,
                            static_cast<int>(C));
          } else {
            for (int64_t c = 0; c < C; ++c) store(tile + tile_place<T>(r, c, C), load_partial(from + c * col, some));
          }
        }
        tiles.run.backward(into, columns_into, rows, tile, tiles.shape, row == first);
      });
      if (!start) {
        add(sum, chain, size);
        add(column_sum, chain + size, C);
      }
    }
  });
  if (N == 0) {
    if (sums) std::fill(sums, sums + C * x.columns, T(0));
    if (column_sums) std::fill(column_sums, column_sums + C, T(0));
    return;
  }
  for (int64_t step = 1; step < groups.count; step *= 2)
    for (int64_t g = 0; g + step < groups.count; g += 2 * step) {
      add(partial.data() + g * size, partial.data() + (g + step) * size, size);
      add(partial_columns.data() + g * C, partial_columns.data() + (g + step) * C, C);
    }
  if (sums) unpack_weight(sums, partial.data(), tiles.shape);
  if (column_sums) std::memcpy(column_sums, partial_columns.data(), static_cast<std::size_t>(C) * sizeof(T));
}

// R rows times V vectors of features of dx; `last` features in the last vector.
template <class T, int R, int V>
SOFTSTEP_INLINE void input_gradient(T* dx, const T* weight, const T* dlogits, int64_t K, int64_t C, int last) {
  constexpr int L = lanes<T>;
  Vec<T> sum[R][V] = {};
  for (int64_t c = 0; c < C; ++c) {
    Vec<T> w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = v == V - 1 ? load_partial(weight + v * L, last) : load(weight + v * L);
    weight += K;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vec<T> g = broadcast<T>(dlogits[r * C + c]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(g, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (v == V - 1 && last < L) store_partial(dx + r * K + v * L, sum[r][v], last);
      else store(dx + r * K + v * L, sum[r][v]);
    }
}

// dx of few outputs: every row is a sum of C rows of weights, times the slopes while it is in the first-level cache.
template <class T>
void input_gradient_of_few(T* dx, const Features<T>& x, const T* weight, const T* dlogits, int64_t N, int64_t C,
                           Activation of_x, int threads) {
  constexpr int L = lanes<T>, V = vector_registers / 8;
  const int64_t K = x.columns;
  const Team team(threads, nanoseconds(N, K, C));
  const int64_t height = rows_per_task(N);
  for_tiles(blocks_of(N, height), team, [&](int64_t task, int) {
    const auto strip = [&]<int R>(std::integral_constant<int, R>, int64_t row) {
      int64_t k = 0;
      for (; k + V * L <= K; k += V * L)
        input_gradient<T, R, V>(dx + row * K + k, weight + k, dlogits + row * C, K, C, L);
      for (; k < K; k += L)
        input_gradient<T, R, 1>(dx + row * K + k, weight + k, dlogits + row * C, K, C,
                                static_cast<int>(std::min<int64_t>(L, K - k)));
      for (int r = 0; r < R && of_x != Activation::none; ++r)
        times_slope_row(dx + (row + r) * K, static_cast<const T*>(x.at(row + r)), K, of_x);
    };
    const int64_t end = std::min((task + 1) * height, N);
    int64_t row = task * height;
    for (; row + 4 <= end; row += 4) strip(std::integral_constant<int, 4>{}, row);
    for (; row < end; ++row) strip(std::integral_constant<int, 1>{}, row);
  });
}

// dx *= f'(z), where x = f(z).
template <class T>
void times_slopes(T* dx, const Features<T>& x, int64_t N, Activation activation, int threads) {
  const int64_t K = x.columns;
  const RowTiles tiles(N, K);
  const Team team(threads, static_cast<double>(N) * static_cast<double>(K) * 0.1);
  for_tiles(tiles.count, team, [&](int64_t tile, int) {
    for (int64_t r = tiles.begin(tile); r < tiles.end(tile); ++r)
      times_slope_row(dx + r * K, static_cast<const T*>(x.at(r)), K, activation);
  });
}

template <class T>
void column_sums(T* out, const T* a, int64_t rows, int64_t columns, int threads) {
  std::vector<double> sums(static_cast<std::size_t>(columns));
  add_column_sums(sums, a, rows, threads);
  write_sums(out, sums);
}

}  // namespace

template <class T>
void linear_forward(T* logits, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C,
                    Activation activation, int threads) {
  const int64_t K = x.columns;
  if (multiplied_as_dots(x, N, C)) Dots<T>(logits, x, weight, bias, N, C).run(activation, threads);
  else if (outputs_in_lanes<T>(N, K, C)) LaneProduct<T>(logits, x, weight, bias, N, C).run(activation, threads);
  else if (C <= narrow_outputs && C <= N) forward_to_few(logits, x, weight, bias, N, C, activation, threads);
  else if (N <= narrow_outputs && N > 0) forward_from_few(logits, x, weight, bias, N, C, activation, threads);
  else matrix_product<T>(logits, as_rows(x), {weight, K, 1}, N, C, K, {bias, activation}, threads);
}

template <class T>
void linear_backward(T* dx, T* dweight, T* dbias, const Features<T>& x, const T* weight, const T* dlogits, int64_t N,
                     int64_t C, Activation of_x, int threads) {
  const int64_t K = x.columns;
  if (dx && C <= narrow_outputs) {
    input_gradient_of_few(dx, x, weight, dlogits, N, C, of_x, threads);
  } else if (dx) {
    if (N <= narrow_outputs && N > 0) outer_products<T>(dx, nullptr, rows_of(weight, K), dlogits, 1, C, C, N, threads);
    else matrix_product<T>(dx, {dlogits, C, 1}, {weight, 1, K}, N, K, C, {}, threads);
    if (of_x != Activation::none) times_slopes(dx, x, N, of_x, threads);
  }
  if (C <= narrow_outputs) {
    if (dweight) outer_products(dweight, dbias, x, dlogits, C, 1, N, C, threads);
    else if (dbias) column_sums(dbias, dlogits, N, C, threads);
  } else {
    if (dweight) matrix_product<T>(dweight, {dlogits, 1, C}, as_columns(x), C, K, N, {}, threads, Share::rows);
    if (dbias) column_sums(dbias, dlogits, N, C, threads);
  }
}

template void linear_forward(float*, const Features<float>&, const float*, const float*, int64_t, int64_t, Activation,
                             int);
template void linear_forward(double*, const Features<double>&, const double*, const double*, int64_t, int64_t,
                             Activation, int);
template void linear_backward(float*, float*, float*, const Features<float>&, const float*, const float*, int64_t,
                              int64_t, Activation, int);
template void linear_backward(double*, double*, double*, const Features<double>&, const double*, const double*, int64_t,
                              int64_t, Activation, int);

}  // namespace softstep
