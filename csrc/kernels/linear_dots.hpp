// The forward product of few rows, or few outputs, where both operands are read as they lie: what `linear` uses where
// there is too little to multiply to be worth bringing the weights into another order (linear_tiles.hpp).
//
// `lanes` rows of the longer side, a block of them at a time, times up to 3 of the shorter one are summed in registers,
// the vectors along k. As much of k is taken at a time as keeps the rows of both in the first-level cache. Short rows
// times a single one are taken one after the other, as they lie. The lanes of `lanes` sums at a time are then added by
// transposition.
//
// Numerics: an output is a sum over k in `lanes` interleaved chains of at most 512 terms and a tree over them, and the
// bias. The order depends on K alone.
#pragma once

#include <algorithm>

#include "kernels/activations.hpp"
#include "kernels/features.hpp"
#include "kernels/matrix_tiles.hpp"
#include "parallel.hpp"
#include "simd/columns.hpp"

namespace softstep {

inline constexpr int64_t most_few = 11;  // rows of the shorter side

// Is this way the best one for such a product? Sums that are too short are better made in the lanes (linear_lanes.hpp).
template <class T>
bool multiplied_as_dots(const Features<T>& x, int64_t N, int64_t C) {
  if (x.type != feature_of<T>() || x.scale || x.order || x.columns <= 32 || x.columns > 512 * lanes<T>) return false;
  const int64_t few = std::min(N, C), many = std::max(N, C);
  return few > 0 && (few <= 2 ? x.columns <= 128 || many <= 128 : few * many <= 128);
}

template <class T>
class Dots {
 public:
  Dots(T* out, const Features<T>& x, const T* weight, const T* bias, int64_t N, int64_t C)
      : out_(out),
        weight_(weight),
        bias_(bias),
        x_(static_cast<const T*>(x.data)),
        stride_(x.row_stride()),
        K_(x.columns),
        N_(N),
        C_(C) {}

  void run(Activation activation, int threads) const {
    const double macs = static_cast<double>(N_) * static_cast<double>(C_) * static_cast<double>(K_);
    const Team team(threads, 0.03 * macs + 0.1 * static_cast<double>(std::max(N_, C_)) * static_cast<double>(K_));
    const bool outputs = C_ > N_;  // are the longer side
    const int64_t many = std::max(N_, C_), task_rows = std::clamp<int64_t>((1 << 15) / K_ / L, 1, 16) * L;
    for_tiles(blocks_of(many, task_rows), team, [&](int64_t task, int) {
      for (int64_t row = task * task_rows; row < std::min((task + 1) * task_rows, many); row += L) {
        const int count = static_cast<int>(std::min<int64_t>(L, many - row));
        if (outputs) of_outputs(row, count, activation);
        else of_rows(row, count, activation);
      }
    });
  }

 private:
  static constexpr int L = lanes<T>;
  static constexpr int64_t depth =
      4096 / static_cast<int64_t>(sizeof(T)) / 4;  // of k at a time: a kilobyte of each row

  // Outputs c .. c + count - 1 of all rows.
  void of_outputs(int64_t c, int count, Activation activation) const {
    Vec<T> totals[most_few];
    multiply(totals, {weight_ + c * K_, K_, count}, {x_, stride_, N_});
    const Vec<T> b = bias_ ? load_partial(bias_ + c, count) : Vec<T>{};
    for (int64_t n = 0; n < N_; ++n) {
      T* const place = out_ + n * C_ + c;
      store_partial(place, totals[n] + b, count);
      if (activation != Activation::none) activate_row(place, count, activation);
    }
  }

  // All outputs of rows n .. n + count - 1.
  void of_rows(int64_t n, int count, Activation activation) const {
    Vec<T> columns[most_few + L];  // store_columns takes whole blocks
    multiply(columns, {x_ + n * stride_, stride_, count}, {weight_, K_, C_});
    for (int64_t c = 0; c < C_; ++c) columns[c] += broadcast<T>(bias_ ? bias_[c] : T(0));
    T* const place = out_ + n * C_;
    if (C_ == 1) store_partial(place, columns[0], count);
    else store_columns<T>(place, C_, columns, count, static_cast<int>(C_));
    if (activation != Activation::none) activate_row(place, count * C_, activation);
  }

  // Rows and the distance between them.
  struct Rows {
    const T* first;
    int64_t apart, count;
  };

  // totals[f] = the products of the rows of `many`, a lane each, and row f of `few`.
  //
  // Rows are passed as references: copies, written in parts and read as a whole, would stall each block.
  void multiply(Vec<T>* totals, const Rows& many, const Rows& few) const {
    if (few.count == 1 && many.count == L && K_ < (most_whole + 1) * L) {
      totals[0] = short_rows<most_whole>(many, few.first);
      return;
    }
    Vec<T> sums[most_few * L];  // [f * lanes + r] of row r of `many` and row f of `few`, not yet added across lanes
    const int most = few.count == 1 && spread_out<T>(many.apart) ? most_of_one : most_rows;
    const int64_t blocks = blocks_of(many.count, most);
    alignas(64) T copied[most_few * copied_stride<T>(depth)];
    for (int64_t begin = 0; begin == 0 || begin < K_; begin += depth) {
      const int64_t end = std::min(begin + depth, K_);
      const Rows b = part(few, copied, begin, end, blocks > 1);
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t r = many.count * i / blocks, some = many.count * (i + 1) / blocks - r;  // as equal as can be
        const Rows a{many.first + r * many.apart + begin, many.apart, some};
        if (few.count == 1) for_one<most_of_one>(sums + r, a, b, end - begin, begin == 0);
        else for_few<most_rows>(sums + r, a, b, end - begin, begin == 0);
      }
    }
    for (int64_t f = 0; f < few.count; ++f) totals[f] = row_sums<T>(sums + f * L);
  }

  // A vector's worth of rows, each of Whole vectors and a rest, times one row that stays in registers.
  template <int Whole>
  SOFTSTEP_INLINE Vec<T> short_rows(const Rows& many, const T* one) const {
    if constexpr (Whole > 0)
      if (K_ < Whole * L) return short_rows<Whole - 1>(many, one);
    const int rest = static_cast<int>(K_ - Whole * L);
    Vec<T> sums[L], y[Whole + 1];
#pragma GCC unroll 16
    for (int v = 0; v < Whole; ++v) y[v] = load(one + v * L);
    if (rest) y[Whole] = load_partial(one + Whole * L, rest);
#pragma GCC unroll 16
    for (int r = 0; r < L; ++r) {
      const T* const row = many.first + r * many.apart;
      sums[r] = Vec<T>{};
#pragma GCC unroll 16
      for (int v = 0; v < Whole; ++v) sums[r] = fma<T>(load(row + v * L), y[v], sums[r]);
      if (rest) sums[r] = fma<T>(load_partial(row + Whole * L, rest), y[Whole], sums[r]);
    }
    return row_sums<T>(sums);
  }

  // Columns begin .. end - 1 of the rows: copied if they are used more than once and their lines would push each other
  // out of the first-level cache.
  static Rows part(const Rows& rows, T* copy, int64_t begin, int64_t end, bool again) {
    if (!again || rows.count == 1 || spread_out<T>(rows.apart)) return {rows.first + begin, rows.apart, rows.count};
    const int64_t apart = copied_stride<T>(end - begin);
    for (int64_t r = 0; r < rows.count; ++r)  // a few, and near: copy_rows fetches ahead, which takes longer
      std::copy(rows.first + r * rows.apart + begin, rows.first + r * rows.apart + end, copy + r * apart);
    return {copy, apart, rows.count};
  }

  static constexpr int most_whole = 8;  // vectors of a short row
  static constexpr int most_rows = std::min(L, vector_registers / 4),
                       most_of_one = vector_registers > 16 ? L : most_rows;

  // A block of up to Most rows of the longer side and all of the shorter one.
  template <int Most>
  static void for_few(Vec<T>* sums, const Rows& many, const Rows& few, int64_t depth, bool first) {
    if constexpr (Most > 1)
      if (many.count < Most) return for_few<Most - 1>(sums, many, few, depth, first);
    for (int64_t f = 0; f < few.count;) {
      const int64_t left = few.count - f;
      const auto some = [&]<int F>(std::integral_constant<int, F>) {
        block<Most, F>(sums + f * L, many, {few.first + f * few.apart, few.apart, F}, depth, first);
        f += F;
      };
      if (left == 2 || left == 4) some(std::integral_constant<int, 2>{});
      else some(std::integral_constant<int, 3>{});
    }
  }
  template <int Most>
  static void for_one(Vec<T>* sums, const Rows& many, const Rows& few, int64_t depth, bool first) {
    if constexpr (Most > 1)
      if (many.count < Most) return for_one<Most - 1>(sums, many, few, depth, first);
    block<Most, 1>(sums, many, few, depth, first);
  }

  template <int R, int F>
  static SOFTSTEP_INLINE void block(Vec<T>* sums, const Rows& many, const Rows& few, int64_t depth, bool first) {
    Vec<T> sum[F][R];
#pragma GCC unroll 3
    for (int f = 0; f < F; ++f)
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[f][r] = first ? Vec<T>{} : sums[f * L + r];
    const auto multiply_add = [&](auto read, int64_t k) SOFTSTEP_INLINE_LAMBDA {
      Vec<T> y[F];
#pragma GCC unroll 3
      for (int f = 0; f < F; ++f) y[f] = read(few.first + f * few.apart + k);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec<T> v = read(many.first + r * many.apart + k);
#pragma GCC unroll 3
        for (int f = 0; f < F; ++f) sum[f][r] = fma<T>(v, y[f], sum[f][r]);
      }
    };
    int64_t k = 0;
    for (; k + L <= depth; k += L) multiply_add([](const T* p) SOFTSTEP_INLINE_LAMBDA { return load(p); }, k);
    const int rest = static_cast<int>(depth - k);
    if (rest) multiply_add([=](const T* p) SOFTSTEP_INLINE_LAMBDA { return load_partial(p, rest); }, k);
#pragma GCC unroll 3
    for (int f = 0; f < F; ++f)
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sums[f * L + r] = sum[f][r];
  }

  T* out_;
  const T *weight_, *bias_, *x_;
  int64_t stride_, K_, N_, C_;
};

}  // namespace softstep
