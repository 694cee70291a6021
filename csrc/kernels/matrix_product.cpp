#include "kernels/matrix_product.hpp"

#include <optional>

namespace softstep {

namespace {

constexpr int64_t copied_bytes = 8 << 20;   // of a block of a
constexpr int64_t rows_copied = 32;         // at a time
constexpr int64_t few_columns = 256;        // that each thread packs, so that it multiplies the rows it has copied
constexpr int64_t rows_shared = 64;         // at the least, of a group that threads share
constexpr int64_t output_bytes = 16 << 20;  // of a block of the output that is passed over once for each block of k
constexpr int64_t fewest_columns = 2048;    // that a block of a is copied for

// What is multiplied at a time: a block of k of a block of rows.
template <class T>
struct Block {
  T* out;  // row 0, column 0 of the output
  int64_t N;
  const T* rows;  // copied, or where they lie, `stride` apart;
  int64_t stride;
  const int64_t* order;  // in this order, if it is not null
  int64_t count, depth;
  const T* bias;          // the first block of k starts from it, if it is not null,
  bool add;               // later ones from what is there
  Activation activation;  // none but in the last block of k

  const T* row(int64_t r) const { return rows + (order ? order[r] : r) * stride; }
};

// Rows of the type computed in need no copy, in whatever order, if they are spread out.
template <class T>
bool multiplied_in_place(const Operand<T>& a) {
  return a.feature == feature_of<T>() && !a.rows_adjoin && !a.scale && spread_out<T>(a.row);
}

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

// The rows of the next strip, which come from memory or the third-level cache, are fetched by the products of this one
// with its panels: evenly, and side by side, the same line of each in turn (as in linear_tiles.cpp).
template <class T>
class NextStrip {
 public:
  static constexpr int64_t most = group_panels * (block_depth<T> / fetch_every + 1);

  NextStrip(const Block<T>& block, int64_t row, int64_t panels) {
    constexpr int64_t line = 64;
    const int64_t bytes = block.depth * static_cast<int64_t>(sizeof(T)), lines = (bytes - 1) / line + 2;
    const char* rows[strip_rows];
    for (int64_t r = 0; r < strip_rows; ++r)
      rows[r] = reinterpret_cast<const char*>(block.row(std::min(row + r, block.count - 1)));
    const int64_t taken = panels * blocks_of(block.depth, fetch_every);
    int64_t at = 0;
    for (int64_t i = 0; i < lines && at + strip_rows <= taken; ++i)
      for (int64_t r = 0; r < strip_rows; ++r) places_[at++] = rows[r] + std::min(i * line, bytes - 1);
    std::fill(places_ + at, places_ + taken, rows[0]);
  }

  const void* const* places(int64_t panel, int64_t depth) const {
    return places_ + panel * blocks_of(depth, fetch_every);
  }

 private:
  const void* places_[most];
};

// Rows top .. bottom of the block times packed panels, which begin at column `left`.
template <class T>
void multiply_group(const Block<T>& block, int64_t top, int64_t bottom, const T* packed, const Panels<T>& panels,
                    int64_t left, Interrupt& interrupt, int thread) {
  for (int64_t row = top; row < bottom; row += strip_rows) {
    if (interrupt.check(thread)) return;
    const int count = static_cast<int>(std::min<int64_t>(strip_rows, bottom - row));
    const T* rows[strip_rows];
    for (int i = 0; i < count; ++i) rows[i] = block.row(row + i);
    std::optional<NextStrip<T>> next;
    if (block.depth > 0) next.emplace(block, row + strip_rows, panels.count());
    for (int64_t panel = 0; panel < panels.count(); ++panel) {
      const int64_t column = left + panels.begin(panel);
      const int columns = static_cast<int>(panels.begin(panel + 1) - panels.begin(panel));
      T* const corner = block.out + row * block.N + column;
      for (int i = 0; i < count; ++i)
        for (int c = 0; c < columns; c += lanes<T>) prefetch_to_write(corner + i * block.N + c);
      const Strip<T> strip{rows[0], block.stride, block.order ? rows : nullptr,
                           next ? next->places(panel, block.depth) : nullptr};
      multiply_strip<T>(strip, count, packed + panel * panel_columns<T> * block.depth, block.depth, columns,
                        [&]<int R, int V>(int at, Vec<T>(&sum)[R][V]) {
#pragma GCC unroll 8
                          for (int i = 0; i < R; ++i) {
                            T* place = corner + (at + i) * block.N;
                            const T* bias = block.bias ? block.bias + column : nullptr;
                            store_row<T>(place, block.add ? place : bias, sum[i], V, columns);
                          }
                        });
    }
    if (block.activation != Activation::none)
      for (int i = 0; i < count; ++i)
        activate_row(block.out + (row + i) * block.N + left, panels.columns, block.activation);
  }
}

}  // namespace

template <class T>
void matrix_product(T* out, const Operand<T>& a, const Operand<T>& b, int64_t M, int64_t N, int64_t K,
                    const Finish<T>& finish, int threads, Share share) {
  if (M == 0 || N == 0) return;
  constexpr int P = panel_columns<T>, L = lanes<T>;
  constexpr int64_t size = sizeof(T);
  const int64_t parts = std::max<int64_t>(blocks_of(K, block_depth<T>), 1);
  const int64_t depth = blocks_of(blocks_of(std::max<int64_t>(K, 1), parts), L) * L, stride = copied_stride<T>(depth);
  const int64_t height = blocks_of(blocks_of(M, blocks_of(M, copied_bytes / size / stride)), strip_rows) * strip_rows;
  const int64_t most = std::max(output_bytes / size / height, fewest_columns);
  const int64_t width = parts == 1 ? N : blocks_of(blocks_of(N, blocks_of(N, most)), P) * P;
  const Team team(threads,
                  static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) * 0.01 * sizeof(T) / 4);
  const bool in_place = multiplied_in_place(a);
  const Scratch<T> copy(static_cast<std::size_t>(in_place ? 0 : height * stride));
  const Scratch<T> packed(static_cast<std::size_t>(team.threads() * group_panels * P * depth));
  struct Held {
    int64_t group;
    Panels<T> panels;
  };
  std::vector<Held> holds(static_cast<std::size_t>(team.threads()));  // what a thread has packed
  for (int64_t row = 0; row < M; row += height) {
    const int64_t rows = std::min(height, M - row);
    for (int64_t column = 0; column < N; column += width) {
      // Groups of panels, all of them as wide but for a vector. As many for every thread, or as many runs of rows,
      // where it can be; and runs short enough to be shared out at the end.
      const int64_t columns = std::min(width, N - column), vectors = blocks_of(columns, L);
      const bool by_rows = (share == Share::rows && rows >= rows_shared * team.threads()) ||
                           (!in_place && N <= few_columns && rows >= strip_rows * team.threads());
      const int64_t fewest = blocks_of(vectors, group_panels * panel_vectors);
      const int64_t groups =
          by_rows ? fewest
                  : std::min(blocks_of(fewest, team.threads()) * team.threads(), blocks_of(vectors, panel_vectors));
      const int64_t runs = team.threads() == 1 ? 1
                           : by_rows           ? team.threads()
                                               : std::max(blocks_of(team.threads(), groups), rows / rows_shared);
      // The last block of k may have rows that are shorter and closer; those from `first` on keep to their own place.
      const auto copy_of = [&](int64_t some, int64_t first) {
        return copy.data() + first * (stride - copied_stride<T>(some));
      };
      const auto block_at = [&](int64_t k, int64_t first) {
        const int64_t some = std::min(depth, K - k);
        return Block<T>{
            out + row * N,
            N,
            in_place ? static_cast<const T*>(a.data) + (a.order ? 0 : row * a.row) + k : copy_of(some, first),
            in_place ? a.row : copied_stride<T>(some),
            in_place && a.order ? a.order + row : nullptr,
            rows,
            some,
            finish.bias,
            finish.add || k > 0,
            k + some >= K ? finish.activation : Activation::none};
      };
      const auto copy_some = [&](const Block<T>& block, int64_t k, int64_t first, int64_t r, int64_t end) {
        copy_rows(copy_of(block.depth, first) + r * block.stride, a, row + r, std::min(rows_copied, end - r), k,
                  block.depth, std::max<int64_t>(end - r - rows_copied, 0));
      };
      const auto left_of = [&](int64_t group) { return vectors * group / groups * L; };
      const auto pack = [&](const Block<T>& block, int64_t k, int64_t group, int thread) {
        const Panels<T> panels{std::min(left_of(group + 1), columns) - left_of(group)};
        pack_panels(packed.data() + thread * group_panels * P * depth, b, column + left_of(group), panels, 0,
                    panels.count(), k, k + block.depth);
        return panels;
      };
      const auto multiply = [&](const Block<T>& block, int64_t group, const Panels<T>& panels, int64_t top,
                                int64_t bottom, int thread, Interrupt& interrupt) {
        multiply_group(block, top, bottom, packed.data() + thread * group_panels * P * depth, panels,
                       column + left_of(group), interrupt, thread);
      };
      if (by_rows) {
        for_tiles(runs, team, [&](int64_t run, int thread, Interrupt& interrupt) {
          const int64_t first = rows * run / runs, end = rows * (run + 1) / runs;
          for (int64_t k = 0; k == 0 || k < K; k += depth) {
            const Block<T> block = block_at(k, first);
            for (int64_t group = 0; group < groups; ++group) {
              const Panels<T> panels = pack(block, k, group, thread);
              for (int64_t r = first; r < end && !interrupt.check(thread); r += rows_copied) {
                if (!in_place && group == 0) copy_some(block, k, first, r, end);
                multiply(block, group, panels, r, std::min(r + rows_copied, end), thread, interrupt);
              }
            }
          }
        });
        continue;
      }
      for (int64_t k = 0; k == 0 || k < K; k += depth) {
        const Block<T> block = block_at(k, 0);
        if (!in_place)
          for_tiles(blocks_of(rows, rows_copied), team,
                    [&](int64_t tile, int) { copy_some(block, k, 0, tile * rows_copied, rows); });
        std::fill(holds.begin(), holds.end(), Held{-1, {}});
        for_tiles(groups * runs, team, [&](int64_t task, int thread, Interrupt& interrupt) {
          const int64_t group = task / runs, run = task % runs;
          auto& [held, panels] = holds[static_cast<std::size_t>(thread)];
          if (held != group) panels = pack(block, k, group, thread), held = group;
          multiply(block, group, panels, rows * run / runs, rows * (run + 1) / runs, thread, interrupt);
        });
      }
    }
  }
}

template void matrix_product(float*, const Operand<float>&, const Operand<float>&, int64_t, int64_t, int64_t,
                             const Finish<float>&, int, Share);
template void matrix_product(double*, const Operand<double>&, const Operand<double>&, int64_t, int64_t, int64_t,
                             const Finish<double>&, int, Share);

}  // namespace softstep
