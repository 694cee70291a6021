// The forward product with outputs, or rows, in the lanes: what `linear` uses where a sum is too short to be made
// along the lanes and added up across them, and where the outputs fill whole vectors.
//
//     8 or more outputs   `lanes` rows of the weight become columns once for a tile of rows; 8 rows times a vector of
//                         outputs, or 4 times 2, are summed in registers, each number of a row broadcast
//     fewer               `lanes` rows of features become columns, and each weight is broadcast
//
// Numerics: an output is the sum of one chain for each part of k, up to 200 terms long; the first starts from the bias.
#pragma once

#include <algorithm>

#include "kernels/activations.hpp"
#include "kernels/features.hpp"
#include "kernels/linear_tiles.hpp"
#include "kernels/matrix_tiles.hpp"
#include "parallel.hpp"
#include "simd/columns.hpp"

namespace softstep {

inline constexpr int64_t few_features = 32;  // fewer than 8 outputs are computed here up to so many

// Is this way the best one for such a product? Where the outputs leave lanes empty, only while sums are short; with
// a few rows the weight is not worth rearranging; long rows that no cache of a core holds come faster by tiles, which
// fetch them (linear_tiles.hpp); and from 65 outputs on packed panels are better, unless there are few rows to pack
// them for.
template <class T>
bool outputs_in_lanes(int64_t N, int64_t K, int64_t C) {
  if (K <= few_features) return true;
  if (C < 8 || N < (K <= 128 ? 4 : 16)) return false;
  constexpr int64_t cached = 2 << 20;
  if (C <= narrow_outputs && K > 256 && N * K * static_cast<int64_t>(sizeof(T)) > cached) return false;
  const bool full = 10 * C >= 9 * blocks_of(C, lanes<T>) * lanes<T>;
  return C <= 64 ? full || K <= 128 : N <= 64 && K <= 256;
}

template <class T>
class LaneProduct {
 public:
  LaneProduct(T* out, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C)
      : out_(out), x_(x), weight_(weight), bias_(bias), N_(N), K_(x.columns), C_(C) {}

  void run(Activation activation, int threads) const {
    const int64_t width = C_ < 8 ? C_ : tile_vectors / std::clamp<int64_t>(K_, 8, depth_) * L;
    const int64_t across = blocks_of(C_, width);
    const double macs = static_cast<double>(N_) * static_cast<double>(C_) * static_cast<double>(K_);
    const Team team(threads, 0.02 * macs + 0.2 * static_cast<double>(N_) * static_cast<double>(C_));
    const int64_t most = std::clamp<int64_t>((1 << 20) / std::max<int64_t>(K_, 1) / 8 * 8, 8, C_ < 8 ? 1024 : 128);
    // The weight becomes columns anew for each part of the rows.
    const int64_t parts = across < 4 * team.threads() ? team.threads() : 1;
    const int64_t height = std::clamp<int64_t>(blocks_of(blocks_of(N_, parts), 8) * 8, 8, most);  // of a tile
    const int64_t copy = in_place() ? 0 : height * copied_stride<T>(K_);
    const Scratch<T> copies(static_cast<std::size_t>(team.threads() * copy));
    for_tiles(blocks_of(N_, height) * across, team, [&](int64_t tile, int thread) {
      const int64_t row = tile / across * height, rows = std::min(height, N_ - row);
      const int64_t c = tile % across * width, outputs = std::min(width, C_ - c);
      T* const own = copies.data() + thread * copy;
      if (!in_place()) copy_rows(own, as_rows(x_), row, rows, 0, K_);
      if (C_ < 8) to_few(own, row, rows);
      else to_many(own, row, rows, c, outputs);
      if (activation == Activation::none) return;
      for (int64_t r = row; r < row + rows; ++r) activate_row(out_ + r * C_ + c, outputs, activation);
    });
  }

 private:
  static constexpr int L = lanes<T>;
  static constexpr int64_t tile_vectors = 32768 / sizeof(Vec<T>);  // of the weight: half of a first-level cache, or all
  static constexpr int64_t most_depth = 200;                       // of k, so that two vectors of outputs fit

  // Are the rows multiplied where they lie? The others are copied, a tile at a time.
  bool in_place() const { return x_.type == feature_of<T>() && !x_.scale; }
  const T* row_of(const T* copy, int64_t first, int64_t r) const {
    return in_place() ? static_cast<const T*>(x_.at(first + r)) : copy + r * copied_stride<T>(K_);
  }

  void to_many(const T* copy, int64_t row, int64_t rows, int64_t first, int64_t outputs) const {
    Vec<T> columns[tile_vectors + L];  // load_columns wants room for whole blocks
    for (int64_t k = 0; k == 0 || k < K_; k += depth_) {
      const int64_t depth = std::min(depth_, K_ - k);
      for (int64_t c = 0; c < outputs; c += L)
        load_few_columns(columns + c / L * depth, weight_ + (first + c) * K_ + k, K_, std::min<int64_t>(L, outputs - c),
                         depth);
      const auto strip = [&]<int R>(std::integral_constant<int, R>, int64_t r) {
        const T* x[R];
        for (int i = 0; i < R; ++i) x[i] = row_of(copy, row, r + i) + k;
        int64_t c = 0;
        for (; c + L < outputs; c += 2 * L)
          block<R, 2>(x, columns + c / L * depth, depth, row + r, first + c, outputs - c, k > 0);
        if (c < outputs) block<R, 1>(x, columns + c / L * depth, depth, row + r, first + c, outputs - c, k > 0);
      };
      int64_t r = 0;
      if (outputs <= L)
        for (; r + 8 <= rows; r += 8) strip(std::integral_constant<int, 8>{}, r);
      for (; r + 4 <= rows; r += 4) strip(std::integral_constant<int, 4>{}, r);
      for (; r < rows; ++r) strip(std::integral_constant<int, 1>{}, r);
    }
  }

  // R rows times V vectors of outputs, of which `outputs` are left; begun from the bias, or added to what is there.
  template <int R, int V>
  SOFTSTEP_INLINE void block(const T* const* x, const Vec<T>* columns, int64_t depth, int64_t row, int64_t c,
                             int64_t outputs, bool add) const {
    T* const out = out_ + row * C_ + c;
    const int last = static_cast<int>(std::min<int64_t>(L, outputs - (V - 1) * L));
    const auto read = [&](const T* p, int v) { return v == V - 1 ? load_partial(p + v * L, last) : load(p + v * L); };
    Vec<T> sum[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[r][v] = bias_ && !add ? read(bias_ + c, v) : Vec<T>{};
    for (int64_t k = 0; k < depth; ++k)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vec<T> y = broadcast<T>(x[r][k]);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[r][v] = fma<T>(y, columns[v * depth + k], sum[r][v]);
      }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        if (add) sum[r][v] += read(out + r * C_, v);
        T* const place = out + r * C_ + v * L;
        if (v == V - 1 && last < L) store_partial(place, sum[r][v], last);
        else store(place, sum[r][v]);
      }
  }

  void to_few(const T* copy, int64_t row, int64_t rows) const {
    with_width(in_place() && !x_.order && x_.row_stride() == K_ ? K_ : 0,
               [&]<int Width>(std::integral_constant<int, Width>) { to_few_from<Width>(copy, row, rows); });
  }

  // Width is that of rows without a gap, or 0.
  template <int Width>
  void to_few_from(const T* copy, int64_t row, int64_t rows) const {
    const int64_t width = Width ? Width : K_;
    Vec<T> columns[few_features + L], sums[8 + L];  // store_columns, too, takes whole blocks
    T gathered[L * few_features];
    for (int64_t r = row; r < row + rows; r += L) {
      const int64_t count = std::min<int64_t>(L, row + rows - r);
      const T* x = row_of(copy, row, r - row);
      int64_t stride = in_place() ? x_.row_stride() : copied_stride<T>(K_);
      if (in_place() && x_.order) {
        for (int64_t i = 0; i < count; ++i) std::copy_n(row_of(copy, row, r - row + i), K_, gathered + i * K_);
        x = gathered, stride = K_;
      }
      if (Width > 0 && count == L) load_adjoining_columns<T, std::max(Width, 1)>(columns, x);
      else load_columns<T>(columns, x, stride, static_cast<int>(count), static_cast<int>(width));
      for (int64_t c = 0; c < C_; ++c) {
        sums[c] = broadcast<T>(bias_ ? bias_[c] : T(0));
        for (int64_t k = 0; k < width; ++k) sums[c] = fma<T>(broadcast<T>(weight_[c * width + k]), columns[k], sums[c]);
      }
      if (C_ == 1) store_partial(out_ + r, sums[0], static_cast<int>(count));
      else store_columns<T>(out_ + r * C_, C_, sums, static_cast<int>(count), static_cast<int>(C_));
    }
  }

  // As load_columns, which takes several times as long where the columns are few and lie without a gap.
  static void load_few_columns(Vec<T>* columns, const T* rows, int64_t stride, int64_t count, int64_t width) {
    with_width(stride == width && count == L ? width : 0, [&]<int Width>(std::integral_constant<int, Width>) {
      if constexpr (Width > 0) load_adjoining_columns<T, Width>(columns, rows);
      else load_columns<T>(columns, rows, stride, static_cast<int>(count), static_cast<int>(width));
    });
  }

  // visit(width), known at compile time where it is below 8, else 0.
  template <class Visit>
  static void with_width(int64_t width, Visit visit) {
    switch (width) {
      case 1:
        return visit(std::integral_constant<int, 1>{});
      case 2:
        return visit(std::integral_constant<int, 2>{});
      case 3:
        return visit(std::integral_constant<int, 3>{});
      case 4:
        return visit(std::integral_constant<int, 4>{});
      case 5:
        return visit(std::integral_constant<int, 5>{});
      case 6:
        return visit(std::integral_constant<int, 6>{});
      case 7:
        return visit(std::integral_constant<int, 7>{});
      default:
        return visit(std::integral_constant<int, 0>{});
    }
  }

  T* out_;
  const Features<T>& x_;
  const T *weight_, *bias_;
  int64_t N_, K_, C_;
  int64_t depth_ = blocks_of(std::max<int64_t>(K_, 1), blocks_of(std::max<int64_t>(K_, 1), most_depth));
};

}  // namespace softstep
