#include "kernels/losses.hpp"

#include <algorithm>
#include <limits>

#include "kernels/exp_sums.hpp"

namespace softstep {

namespace {

constexpr int64_t tile_size = 16384, block_size = 512;

template <class T>
struct LossAndSlope {
  Vec<T> loss, slope;
};

template <class T>
struct SquaredErrorRule {
  static constexpr bool positive_weights = false;
  SOFTSTEP_INLINE static LossAndSlope<T> at(Vec<T> x, Vec<T> target, Vec<T>) {
    const Vec<T> d = x - target;
    return {d * d, d + d};
  }
};

template <class T>
struct LogisticRule {
  static constexpr bool positive_weights = true;
  SOFTSTEP_INLINE static LossAndSlope<T> at(Vec<T> x, Vec<T> target, Vec<T> positive_weight) {
    const Vec<T> zero{};
    const auto negative = x < T(0);
    const Vec<T> size = select<T>(negative, -x, x);
    const Vec<T> e = exp<T>(-size), log_total = log1p<T>(e);
    const Vec<T> near = T(1) / (e + T(1)), far = e * near;  // sigmoid(|x|), sigmoid(-|x|)
    const Vec<T> yes = target * positive_weight, no = T(1) - target;
    const Vec<T> below = log_total + select<T>(negative, size, zero);  // softplus(-x); a NaN is in log_total
    const Vec<T> above = log_total + select<T>(negative, zero, size);
    const Vec<T> positive = select<T>((yes == T(0)) & (x == x), zero, yes * below);
    const Vec<T> loss = positive + select<T>((no == T(0)) & (x == x), zero, no * above);
    return {loss, no * select<T>(negative, far, near) - yes * select<T>(negative, near, far)};
  }
};

// The numbers of elements begin .. begin + count - 1, at most block_size of them: where they stand, or a copy.
template <class T>
class Spreading {
 public:
  explicit Spreading(const Spread<T>& spread) : spread_(spread) {
    if (constant()) std::fill(copy_, copy_ + block_size, spread.value ? spread.value[0] : T(1));
  }

  const T* block(int64_t begin, int64_t count) {
    if (constant()) return copy_;
    int64_t at = begin / spread_.repeat % spread_.period;
    if (spread_.repeat == 1 && at + count <= spread_.period) return spread_.value + at;
    int64_t left = spread_.repeat - begin % spread_.repeat;  // of this number's
    for (int64_t i = 0; i < count;) {
      if (spread_.repeat == 1) {
        const int64_t some = std::min(spread_.period - at, count - i);
        std::copy(spread_.value + at, spread_.value + at + some, copy_ + i);
        i += some;
        at = 0;
      } else {
        const int64_t some = std::min(left, count - i);
        std::fill(copy_ + i, copy_ + i + some, spread_.value[at]);
        i += some;
        left = spread_.repeat;
        if (++at == spread_.period) at = 0;
      }
    }
    return copy_;
  }

 private:
  bool constant() const { return !spread_.value || spread_.period == 1; }

  const Spread<T>& spread_;
  alignas(64) T copy_[block_size];
};

SOFTSTEP_INLINE void prefetch_stream(const void* p) { __builtin_prefetch(static_cast<const char*>(p) + 2048, 0, 3); }

template <class Rule, class T>
double element_loss(const ElementLoss<T>& p, double nanoseconds, int threads) {
  constexpr int L = lanes<T>;
  const int64_t tiles = (p.size + tile_size - 1) / tile_size;
  const Team team(threads, static_cast<double>(p.size) * nanoseconds);
  std::vector<double> sums(static_cast<std::size_t>(tiles));
  for_tiles(tiles, team, [&](int64_t tile, int) {
    const int64_t end = std::min((tile + 1) * tile_size, p.size);
    Spreading<T> weight(p.weight), positive_weight(p.positive_weight);
    const bool weighted = p.weight.value != nullptr;
    const T factor = p.factor;
    T *const loss = p.loss, *const slope = p.slope;
    double sum = 0;
    for (int64_t first = tile * tile_size; first < end; first += block_size) {
      const int64_t count = std::min(block_size, end - first);
      const T *x = p.x + first, *target = p.target + first, *w = weight.block(first, count);
      const T* pw = Rule::positive_weights ? positive_weight.block(first, count) : nullptr;
      Vec<T> total{};
      const auto some_elements = [&](int64_t i, int some, auto partial) {
        const auto get = [&](const T* from) { return partial ? load_partial(from + i, some) : load(from + i); };
        const auto put = [&](T* to, Vec<T> v) { partial ? store_partial(to + i, v, some) : store(to + i, v); };
        LossAndSlope<T> result = Rule::at(get(x), get(target), pw ? get(pw) : Vec<T>{});
        if (weighted) {
          const Vec<T> own = get(w);
          result.loss *= own;
          result.slope *= own;
        }
        if (partial) result.loss = select<T>(lane_numbers<T>() < static_cast<Int<T>>(some), result.loss, Vec<T>{});
        total += result.loss;
        if (loss) put(loss + first, result.loss);
        if (slope) put(slope + first, result.slope * factor);
      };
      int64_t i = 0;
      for (; i + L <= count; i += L) {
        prefetch_stream(x + i);
        prefetch_stream(target + i);
        some_elements(i, L, std::false_type{});
      }
      if (i < count) some_elements(i, static_cast<int>(count - i), std::true_type{});
      sum += sum_in_double(total);
    }
    sums[static_cast<std::size_t>(tile)] = sum;
  });
  return tree_sum(sums);
}

}  // namespace

template <class T>
double squared_error(const ElementLoss<T>& problem, int threads) {
  return element_loss<SquaredErrorRule<T>>(problem, 0.3, threads);
}

template <class T>
double logistic_loss(const ElementLoss<T>& problem, int threads) {
  return element_loss<LogisticRule<T>>(problem, 1.5, threads);
}

template <class T>
double sum_of_weights(const Spread<T>& weight, int64_t size, int threads) {
  if (!weight.value || size == 0) return static_cast<double>(size);
  const int64_t tiles = (weight.period + tile_size - 1) / tile_size;
  const Team team(threads, static_cast<double>(weight.period) * 0.2);
  std::vector<double> sums(static_cast<std::size_t>(tiles));
  for_tiles(tiles, team, [&](int64_t tile, int) {
    const int64_t end = std::min((tile + 1) * tile_size, weight.period);
    double sum = 0;
    for (int64_t i = tile * tile_size; i < end; i += lanes<T>)
      sum += sum_in_double(load_partial(weight.value + i, static_cast<int>(std::min<int64_t>(end - i, lanes<T>))));
    sums[static_cast<std::size_t>(tile)] = sum;
  });
  return tree_sum(sums) * (static_cast<double>(size) / static_cast<double>(weight.period));
}

template <class T>
int64_t first_outside_unit(const T* x, int64_t size, int threads) {
  constexpr int L = lanes<T>;
  const int64_t tiles = (size + tile_size - 1) / tile_size;
  const Team team(threads, static_cast<double>(size) * 0.1);
  std::vector<int64_t> found(static_cast<std::size_t>(tiles), -1);
  for_tiles(tiles, team, [&](int64_t tile, int) {
    const int64_t begin = tile * tile_size, end = std::min(begin + tile_size, size);
    Vec<Int<T>> outside{};
    int64_t i = begin;
    for (; i + L <= end; i += L) {
      prefetch_stream(x + i);
      const Vec<T> v = load(x + i);
      outside |= ~((v >= T(0)) & (v <= T(1)));
    }
    const Vec<T> v = load_partial(x + i, static_cast<int>(end - i));
    outside |= ~((v >= T(0)) & (v <= T(1)));
    if (!any(outside)) return;
    for (i = begin; i < end && x[i] >= T(0) && x[i] <= T(1);) ++i;
    found[static_cast<std::size_t>(tile)] = i;
  });
  for (int64_t i : found)
    if (i >= 0) return i;
  return -1;
}

#define SOFTSTEP_LOSSES(T)                                        \
  template double squared_error(const ElementLoss<T>&, int);      \
  template double logistic_loss(const ElementLoss<T>&, int);      \
  template double sum_of_weights(const Spread<T>&, int64_t, int); \
  template int64_t first_outside_unit(const T*, int64_t, int)
SOFTSTEP_LOSSES(float);
SOFTSTEP_LOSSES(double);

}  // namespace softstep
