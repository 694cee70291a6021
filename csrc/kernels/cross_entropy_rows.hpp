// Cross-entropy of one wide row, along the row. The mathematics is in cross_entropy.hpp.
//
// Two passes over the logits, the maximum and the exponentials, and one over the gradient, where the exponentials stand
// until then; or in scratch, where a class index's gradient is larger than the caches and goes past them while the next
// row is computed (row_stream.hpp). They leave a row in the second-level cache for each other if it fits there; the
// second pass, which computes, fetches the row after it.
//
// A row may be billions of elements long, so the passes go in pieces and look at the interrupt between them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/exp_sums.hpp"
#include "kernels/row_stream.hpp"
#include "parallel.hpp"

namespace softstep {

// Where one row is, and where its results go.
template <class T>
struct WideRow {
  using Stream = RowStream<T, Times<T>>;

  const T* x;     // the logits
  const T* next;  // the row that comes after, or null where rows do not fit the second-level cache
  int64_t size;
  T* dlogits;      // null without a gradient; may be x
  Stream* stream;  // or null: what writes the gradient
  Interrupt& interrupt;
  int thread;

  // body(begin, end) for pieces of the row, as far as it is not interrupted.
  template <class Body>
  void in_pieces(Body body) const {
    constexpr int64_t piece = int64_t{1} << 20;
    for (int64_t begin = 0; begin < size; begin += piece) {
      if (begin && interrupt.check(thread)) return;
      body(begin, std::min(begin + piece, size));
    }
  }

  T max() const {
    T max = -std::numeric_limits<T>::infinity();
    in_pieces([&](int64_t begin, int64_t end) { max = std::max(max, row_max(x + begin, end - begin)); });
    return max;
  }

  // The first column that holds `value`, or -1.
  int64_t find(T value) const {
    int64_t found = -1;
    in_pieces([&](int64_t begin, int64_t end) {
      if (found >= 0) return;
      const T* const at = std::find(x + begin, x + end, value);
      if (at != x + end) found = at - x;
    });
    return found;
  }
};

// u of cross_entropy.hpp along a row, but for the label's own (1 - e) w_t.
template <class T>
struct RowMass {
  const T* distribution;  // of this row, or null
  const T* class_weight;  // or null
  T keep, even;           // 1 - e, e / C

  SOFTSTEP_INLINE Vec<T> at(int64_t i) const {
    const Vec<T> q =
        distribution ? fma<T>(load(distribution + i), broadcast<T>(keep), broadcast<T>(even)) : broadcast<T>(even);
    return class_weight ? q * load(class_weight + i) : q;
  }
  SOFTSTEP_INLINE Vec<T> at(int64_t i, int count) const {
    const Vec<T> q = distribution
                         ? fma<T>(load_partial(distribution + i, count), broadcast<T>(keep), broadcast<T>(even))
                         : broadcast<T>(even);
    const Vec<T> u = class_weight ? q * load_partial(class_weight + i, count) : q;
    return select<T>(lane_numbers<T>() < static_cast<Int<T>>(count), u, Vec<T>{});
  }
};

// What one pass over a row finds: others, and with Spread the sums of u and of u (max - x).
template <class T>
struct WideSums {
  T max, others;
  double mass = 0, distance = 0;

  T total() const { return (max - max) + T(1) + others; }
  T log_others() const { return log1p<T>(broadcast<T>(others))[0]; }
  T log_total() const { return (max - max) + log_others(); }
};

// With Keep the exponentials are written to `e`.
template <class T, bool Keep, bool Spread>
SOFTSTEP_INLINE WideSums<T> wide_sums(const WideRow<T>& row, T* e, T max, const RowMass<T>& mass) {
  constexpr int L = lanes<T>;
  constexpr int64_t block_size = 32 * L;
  const Vec<T> m = broadcast<T>(max);
  const Meanwhile<T, typename WideRow<T>::Stream> meanwhile{row.next, row.stream};
  CompensatedSum below, all, distance;
  int64_t others = 0;
  row.in_pieces([&](int64_t from, int64_t to) {
    for (int64_t first = from; first < to; first += block_size) {
      const int64_t end = first + block_size < to ? first + block_size : to;
      Vec<T> sum[4] = {}, u_sum{}, u_distance{};
      Vec<Int<T>> count{};
      const auto spread = [&](Vec<T> u, Vec<T> v) {
        u_sum += u;
        u_distance += select<T>(u == T(0), Vec<T>{}, u * (m - v));
      };
      int64_t i = first;
      for (; i + 4 * L <= end; i += 4 * L) {
        meanwhile(i);
        Vec<T> v[4], y[4];
        repeat<4>(4, [&](int k) SOFTSTEP_INLINE_LAMBDA { v[k] = load(row.x + i + k * L); });
        repeat<4>(4, [&](int k) SOFTSTEP_INLINE_LAMBDA { y[k] = v[k] - m; });
        exp_to_one<T, 4>(y);
        repeat<4>(4, [&](int k) SOFTSTEP_INLINE_LAMBDA {
          const auto is_other = v[k] != m;
          sum[k] = select<T>(is_other, sum[k] + y[k], sum[k]);
          count = is_other ? count + 1 : count;
          if constexpr (Spread) spread(mass.at(i + k * L), v[k]);
          if constexpr (Keep) store(e + i + k * L, y[k]);
        });
      }
      for (; i < end; i += L) {
        const int some = end - i < L ? static_cast<int>(end - i) : L;
        const auto inside = lane_numbers<T>() < static_cast<Int<T>>(some);
        const Vec<T> v = select<T>(inside, load_partial(row.x + i, some), m);
        const auto is_other = v != m;
        Vec<T> y = v - m;
        exp_to_one<T, 1>(&y);
        sum[0] = select<T>(is_other, sum[0] + y, sum[0]);
        count -= is_other;
        if constexpr (Spread) spread(mass.at(i, some), v);
        if constexpr (Keep) store_partial(e + i, y, some);
      }
      below.add(sum_in_double((sum[0] + sum[1]) + (sum[2] + sum[3])));
      if constexpr (Spread) {
        all.add(sum_in_double(u_sum));
        distance.add(sum_in_double(u_distance));
      }
      Int<T> counts[L];
      std::memcpy(counts, &count, sizeof counts);
      for (Int<T> c : counts) others += c;
    }
  });
  return {max, static_cast<T>(below.total() + static_cast<double>(row.size - others - 1)), all.total(),
          distance.total()};
}

// The terms become the gradient: dlogits = value(term, i, count), of whole vectors and of the last, partial one.
template <class T, class Value>
SOFTSTEP_INLINE void finish_row(const WideRow<T>& row, Value value) {
  constexpr int L = lanes<T>;
  T* const g = row.dlogits;
  row.in_pieces([&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + L <= end; i += L) store(g + i, value(load(g + i), i, L));
    const int rest = static_cast<int>(end - i);
    if (rest) store_partial(g + i, value(load_partial(g + i, rest), i, rest), rest);
  });
}

// A class index without smoothing. Returns the loss, not weighted; the gradient is weighted.
template <class T, bool Gradient>
SOFTSTEP_INLINE T wide_index_row(const WideRow<T>& row, int64_t target, T weight, WideSums<T>& sums) {
  const T chosen = row.x[target];
  T* const e = row.stream ? row.stream->terms() : row.dlogits;
  sums = wide_sums<T, Gradient, false>(row, e, row.max(), {});
  if constexpr (Gradient) {
    e[target] = (e[target] - T(1)) - sums.others;
    const Times<T> value{weight / sums.total()};
    if (row.stream) row.stream->put(row.dlogits, e, row.size, value);
    else finish_row(row, [=](Vec<T> terms, int64_t, int) SOFTSTEP_INLINE_LAMBDA { return value(terms); });
  }
  return sums.log_total() + (sums.max - chosen);
}

// Mass in every column, and `own` more in column `target` (if that is not negative).
template <class T, bool Gradient>
SOFTSTEP_INLINE T wide_spread_row(const WideRow<T>& row, const RowMass<T>& mass, int64_t target, T own, T weight,
                                  WideSums<T>& sums) {
  const T chosen = target >= 0 && own != 0 ? row.x[target] : T(0);
  sums = wide_sums<T, Gradient, true>(row, row.dlogits, row.max(), mass);
  if (target >= 0 && own != 0) {
    sums.mass += static_cast<double>(own);
    sums.distance += static_cast<double>(own) * static_cast<double>(sums.max - chosen);
  }
  const T all = static_cast<T>(sums.mass);
  if constexpr (Gradient) {
    const Vec<T> factor = broadcast<T>(all / sums.total());
    const T at_target = target >= 0 ? row.dlogits[target] * factor[0] : T(0);
    finish_row(row, [=, &mass](Vec<T> e, int64_t i, int count) SOFTSTEP_INLINE_LAMBDA {
      return fma<T>(e, factor, -(count == lanes<T> ? mass.at(i) : mass.at(i, count))) * weight;
    });
    if (target >= 0) {
      const T even = mass.class_weight ? mass.even * mass.class_weight[target] : mass.even;
      row.dlogits[target] = (at_target - (even + own)) * weight;
    }
  }
  return all * sums.log_total() + static_cast<T>(sums.distance);
}

}  // namespace softstep
