#include "kernels/matrix_product.hpp"

#include <algorithm>

#include "simd/columns.hpp"

namespace softstep {

namespace {

#if defined(__AVX512F__)
constexpr int strip = 8, panel_vectors = 3;
#elif defined(__AVX2__)
constexpr int strip = 4, panel_vectors = 3;
#else
constexpr int strip = 4, panel_vectors = 2;
#endif
template <class T>
constexpr int panel = panel_vectors * lanes<T>;
template <class T>
constexpr int64_t block_k = 2048 / static_cast<int64_t>(sizeof(T));
constexpr int64_t block_rows = 128;

// b's rows first .. first + panel - 1, elements k_begin .. k_end - 1, to out[k][panel]; rows beyond `count` are zero.
template <class T>
void pack_panel(T* out, const Operand<T>& b, int64_t first, int count, int64_t k_begin, int64_t k_end) {
  constexpr int L = lanes<T>;
  for (int v = 0; v < panel_vectors; ++v) {
    const int rows = std::clamp(count - v * L, 0, L);
    T* place = out + v * L;
    const T* from = b.data + (first + v * L) * b.row;
    if (rows == 0) {
      for (int64_t k = k_begin; k < k_end; ++k, place += panel<T>) store(place, Vec<T>{});
    } else if (b.row == 1) {
      for (int64_t k = k_begin; k < k_end; ++k, place += panel<T>)
        store(place, rows == L ? load(from + k * b.col) : load_partial(from + k * b.col, rows));
    } else {
      for (int64_t k = k_begin; k < k_end; k += L) {
        const int some = static_cast<int>(std::min<int64_t>(L, k_end - k));
        Vec<T> columns[L];
        load_columns<T>(columns, from + k, b.row, rows, some);
        for (int i = 0; i < some; ++i, place += panel<T>) store(place, columns[i]);
      }
    }
  }
}

// a's rows to strips: out[strip of rows][k][strip]; rows beyond `count` are zero.
template <class T>
void pack_strips(T* out, const Operand<T>& a, int64_t first, int64_t count, int64_t k_begin, int64_t k_end) {
  for (int64_t row = 0; row < count; row += strip, out += strip * (k_end - k_begin)) {
    for (int r = 0; r < strip; ++r) {
      const bool inside = row + r < count;
      const T* from = a.data + (first + (inside ? row + r : 0)) * a.row;
      for (int64_t k = k_begin; k < k_end; ++k) out[(k - k_begin) * strip + r] = inside ? from[k * a.col] : T(0);
    }
  }
}

// `rows` by `columns` of the output, at most strip by panel: out (+)= a strip, b panel over `depth`.
template <class T>
void multiply(T* out, int64_t stride, const T* a, const T* b, const T* bias, int64_t depth, int rows, int columns,
              bool first) {
  constexpr int L = lanes<T>, V = panel_vectors;
  Vec<T> sum[strip][V] = {};
  for (int64_t k = 0; k < depth; ++k, a += strip, b += panel<T>) {
    Vec<T> bv[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) bv[v] = load(b + v * L);
#pragma GCC unroll 8
    for (int r = 0; r < strip; ++r) {
      const Vec<T> av = broadcast<T>(a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(av, bv[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < strip; ++r) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const int some = std::clamp(columns - v * L, 0, L);
      T* place = out + r * stride + v * L;
      const T* before = first ? bias ? bias + v * L : nullptr : place;
      store_partial(place, before ? load_partial(before, some) + sum[r][v] : sum[r][v], some);
    }
  }
}

}  // namespace

template <class T>
void matrix_product(T* out, const Operand<T>& a, const Operand<T>& b, const T* bias, int64_t M, int64_t N, int64_t K,
                    int threads) {
  if (M == 0 || N == 0) return;
  const int64_t panels = (N + panel<T> - 1) / panel<T>;
  const int64_t row_tiles = (M + block_rows - 1) / block_rows;
  // Few rows: cut the columns too, so that there is work for everyone.
  const int64_t groups = std::clamp<int64_t>((16 + row_tiles - 1) / row_tiles, 1, panels);
  const int64_t depth = std::min(K, block_k<T>);
  const Team team(threads,
                  static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) * 0.03 * sizeof(T) / 4);
  const Scratch<T> packed(static_cast<std::size_t>(panels * panel<T> * K));
  const Scratch<T> strips(static_cast<std::size_t>(team.threads() * (block_rows + strip) * depth));

  for_tiles(panels, team, [&](int64_t p, int) {
    for (int64_t k = 0; k < K; k += block_k<T>)
      pack_panel(packed.data() + (k * panels + p * std::min(block_k<T>, K - k)) * panel<T>, b, p * panel<T>,
                 static_cast<int>(std::min<int64_t>(panel<T>, N - p * panel<T>)), k, std::min(k + block_k<T>, K));
  });
  for_tiles(row_tiles * groups, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
    const int64_t row = tile / groups * block_rows, rows = std::min(block_rows, M - row);
    const int64_t group = tile % groups, panel_end = panels * (group + 1) / groups;
    T* own = strips.data() + thread * (block_rows + strip) * depth;
    for (int64_t k = 0; k == 0 || k < K; k += block_k<T>) {
      const int64_t some = std::min(block_k<T>, K - k);
      pack_strips(own, a, row, rows, k, k + some);
      for (int64_t p = panels * group / groups; p < panel_end; ++p) {
        if (interrupt.check(thread)) return;
        for (int64_t r = 0; r < rows; r += strip)
          multiply(out + (row + r) * N + p * panel<T>, N, own + r * some,
                   packed.data() + (k * panels + p * some) * panel<T>, bias ? bias + p * panel<T> : nullptr, some,
                   static_cast<int>(std::min<int64_t>(strip, rows - r)),
                   static_cast<int>(std::min<int64_t>(panel<T>, N - p * panel<T>)), k == 0);
      }
    }
  });
}

template void matrix_product(float*, const Operand<float>&, const Operand<float>&, const float*, int64_t, int64_t,
                             int64_t, int);
template void matrix_product(double*, const Operand<double>&, const Operand<double>&, const double*, int64_t, int64_t,
                             int64_t, int);

}  // namespace softstep
