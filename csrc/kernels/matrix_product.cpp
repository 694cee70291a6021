#include "kernels/matrix_product.hpp"

namespace softstep {

namespace {

constexpr int64_t tile_height = 128;
constexpr int64_t packed_bytes = 8 << 20;  // of a block of b

// A block of k, and of columns, that is packed.
template <class T>
struct Block {
  T* out;
  int64_t N;
  const Operand<T>& a;
  const T* packed;
  int64_t left, columns, begin, depth;  // columns left .. left + columns of the output, begin .. begin + depth of k
  const T* bias;                        // the first block of k starts from it, if it is not null,
  bool add;                             // later ones from what is there
  Activation activation;                // none but in the last block of k
};

template <class T>
SOFTSTEP_INLINE void store_row(T* place, const T* before, const Vec<T>* sum, int vectors, int columns) {
  constexpr int L = lanes<T>;
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const int some = std::clamp(columns - v * L, 0, L);
    if (some == L) {
      store(place + v * L, before ? load(before + v * L) + sum[v] : sum[v]);
    } else {
      store_partial(place + v * L, before ? load_partial(before + v * L, some) + sum[v] : sum[v], some);
    }
  }
}

template <class T>
void multiply_tile(const Block<T>& block, T* copy, int64_t row, int64_t rows, int64_t first, int64_t last,
                   const Interrupt& interrupt) {
  constexpr int P = panel_columns<T>;
  const int64_t stride = copied_stride<T>(block.depth);
  copy_rows(copy, block.a, row, rows, block.begin, block.depth);
  for (int64_t group = first; group < last; group += group_panels) {
    if (interrupt.stopped()) return;
    const int64_t group_end = std::min(group + group_panels, last);
    for (int64_t r = 0; r < rows; r += strip_rows) {
      const int count = static_cast<int>(std::min<int64_t>(strip_rows, rows - r));
      for (int64_t panel = group; panel < group_end; ++panel) {
        const int columns = static_cast<int>(std::min<int64_t>(P, block.columns - panel * P));
        const int64_t left = block.left + panel * P;
        const T* bias = block.bias ? block.bias + left : nullptr;
        multiply_strip<T>(copy + r * stride, stride, count, block.packed + panel * P * block.depth, block.depth,
                          columns, [&]<int R, int V>(int at, Vec<T>(&sum)[R][V]) {
#pragma GCC unroll 8
                            for (int i = 0; i < R; ++i) {
                              T* place = block.out + (row + r + at + i) * block.N + left;
                              store_row<T>(place, block.add ? place : bias, sum[i], V, columns);
                            }
                          });
      }
    }
    if (block.activation != Activation::none)
      for (int64_t r = row; r < row + rows; ++r)
        activate_row(block.out + r * block.N + block.left + group * P,
                     std::min(group_end * P, block.columns) - group * P, block.activation);
  }
}

}  // namespace

template <class T>
void matrix_product(T* out, const Operand<T>& a, const Operand<T>& b, int64_t M, int64_t N, int64_t K,
                    const Finish<T>& finish, int threads) {
  if (M == 0 || N == 0) return;
  constexpr int P = panel_columns<T>;
  const int64_t depth = std::clamp<int64_t>(K, 1, block_depth<T>);
  const int64_t most = std::max<int64_t>(packed_bytes / static_cast<int64_t>(sizeof(T)) / depth / P, group_panels);
  const int64_t all = blocks_of(N, P), width = blocks_of(all, blocks_of(all, most));  // of panels
  const Team team(threads,
                  static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) * 0.01 * sizeof(T) / 4);
  const Scratch<T> packed(static_cast<std::size_t>(width * P * depth));
  const Scratch<T> copies(static_cast<std::size_t>(team.threads() * tile_height * copied_stride<T>(depth)));
  const int64_t row_tiles = blocks_of(M, tile_height);
  for (int64_t panel = 0; panel < all; panel += width) {
    const int64_t panels = std::min(width, all - panel);
    // Few rows: cut the columns too, so that there is work for everyone.
    const int64_t runs = std::clamp<int64_t>(blocks_of(16, row_tiles), 1, panels);
    for (int64_t k = 0; k == 0 || k < K; k += depth) {
      const int64_t some = std::min(depth, K - k);
      for_tiles(panels, team, [&](int64_t p, int) {
        pack_panel(packed.data() + p * P * some, b, (panel + p) * P, std::min<int64_t>(P, N - (panel + p) * P), k,
                   k + some);
      });
      const bool last = k + some >= K;
      const Block<T> block{out,
                           N,
                           a,
                           packed.data(),
                           panel * P,
                           N - panel * P,
                           k,
                           some,
                           finish.bias,
                           finish.add || k > 0,
                           last ? finish.activation : Activation::none};
      for_tiles(row_tiles * runs, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
        const int64_t row = tile / runs * tile_height, run = tile % runs;
        const int64_t rows = std::min(tile_height, M - row);
        const int64_t from = panels * run / runs, to = panels * (run + 1) / runs;
        multiply_tile(block, copies.data() + thread * tile_height * copied_stride<T>(depth), row, rows, from, to,
                      interrupt);
      });
    }
  }
}

template void matrix_product(float*, const Operand<float>&, const Operand<float>&, int64_t, int64_t, int64_t,
                             const Finish<float>&, int);
template void matrix_product(double*, const Operand<double>&, const Operand<double>&, int64_t, int64_t, int64_t,
                             const Finish<double>&, int);

}  // namespace softstep
