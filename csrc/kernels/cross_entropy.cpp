#include "kernels/cross_entropy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/cross_entropy_blocks.hpp"
#include "kernels/cross_entropy_lanes.hpp"
#include "kernels/cross_entropy_rows.hpp"
#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// Up to here rows are transposed into lanes.
constexpr int transposed_columns = 16;

// What is compiled on its own: with a gradient or not, the target's mass in one column or (spread) in all.
template <bool G, bool S>
struct Kind {
  static constexpr bool gradient = G, spread = S;
};

// Losses of rows in the lanes, added up in double.
template <class T>
class LaneLosses {
 public:
  SOFTSTEP_INLINE void add(Vec<T> loss) {
    if constexpr (sizeof(T) == sizeof(double)) {
      sum_ += loss;
    } else {
      typedef T Half __attribute__((vector_size(vector_bytes / 2)));
      Half halves[2];
      std::memcpy(halves, &loss, sizeof loss);
      sum_ += __builtin_convertvector(halves[0], Vec<double>) + __builtin_convertvector(halves[1], Vec<double>);
    }
  }
  double total() const { return sum_lanes<double>(sum_); }

 private:
  Vec<double> sum_{};
};

template <class T>
struct Run {
  const CrossEntropy<T>& p;
  T keep, even;           // 1 - label smoothing, label smoothing / classes
  T shrink = 1, divisor;  // a row's weight is multiplied by the one and divided by the other

  explicit Run(const CrossEntropy<T>& problem)
      : p(problem),
        keep(static_cast<T>(1 - problem.label_smoothing)),
        even(static_cast<T>(problem.label_smoothing / static_cast<double>(problem.classes))),
        divisor(static_cast<T>(problem.divisor)) {
    if (divisor <= std::numeric_limits<T>::max() || !std::isfinite(problem.divisor)) return;
    int exponent = 0;  // float weights whose sum is no float
    const double mantissa = std::frexp(problem.divisor, &exponent);
    divisor = static_cast<T>(mantissa);
    shrink = static_cast<T>(std::ldexp(1.0, -exponent));
  }

  Vec<T> share(Vec<T> weight) const { return weight * shrink / divisor; }
  T share(T weight) const { return weight * shrink / divisor; }

  T class_weight(int64_t c) const { return p.class_weight ? p.class_weight[c] : T(1); }
  T sample_weight(int64_t row) const { return p.sample_weight ? p.sample_weight[row] : T(1); }
  bool wants_prediction() const { return p.predicted || p.count_correct; }

  template <class K, int W>
  void narrow_rows(LaneLosses<T>& sum, int64_t row, int count, int64_t& correct) const;
  template <class K, int W>
  double narrow_tile(int64_t begin, int64_t end, int64_t& correct) const;
  template <bool Gradient>
  void block_rows(LaneLosses<T>& sum, int64_t row, int count, int64_t& correct) const;
  template <bool Gradient>
  double block_tile(int64_t begin, int64_t end, int64_t& correct) const;
  template <class K>
  T wide_row(const WideRow<T>& wide, int64_t row, int64_t& correct) const;
  template <class K>
  CrossEntropySum all_rows(int threads) const;

 private:
  // The classes, -1 for ignored rows and for lanes beyond the last row.
  SOFTSTEP_INLINE Vec<Int<T>> labels(int64_t row, int count) const {
    const int64_t* const label = p.target + row;
    if (count < lanes<T>) {
      Vec<Int<T>> target{};
      for (int r = 0; r < lanes<T>; ++r)
        target[r] = r >= count || label[r] == p.ignore_index ? -1 : static_cast<Int<T>>(label[r]);
      return target;
    }
    const auto some = [&](int first) SOFTSTEP_INLINE_LAMBDA {
      const Vec<int64_t> l = load(label + first);
      return l | (l == p.ignore_index);
    };
    if constexpr (sizeof(T) == sizeof(double)) {
      return some(0);
    } else {
      typedef Int<T> Half __attribute__((vector_size(vector_bytes / 2)));
      const Half low = __builtin_convertvector(some(0), Half);
      const Half high = __builtin_convertvector(some(lanes<T> / 2), Half);
      return [&]<int... I>(std::integer_sequence<int, I...>) SOFTSTEP_INLINE_LAMBDA {
        return __builtin_shufflevector(low, high, I...);
      }(std::make_integer_sequence<int, lanes<T>>{});
    }
  }

  // u of a block of rows; with a distribution, also the first maximum of each.
  void fill_mass(Vec<T>* mass, int width, int64_t row, int count, Vec<Int<T>>& target) const {
    if (p.distribution) {
      load_columns<T>(mass, p.distribution + row * p.classes, p.classes, count, width);
      if (p.count_correct) target = argmax_lanes<T>(mass, width);
      for (int c = 0; c < width; ++c)
        mass[c] = fma<T>(mass[c], broadcast<T>(keep), broadcast<T>(even)) * class_weight(c);
    } else {
      for (int c = 0; c < width; ++c) {
        const T w = class_weight(c);
        mass[c] = select<T>(target == c, broadcast<T>(w * keep + w * even), broadcast<T>(w * even));
      }
    }
  }

  // s w_t of the rows in the lanes.
  Vec<T> index_weight(int64_t row, int count, Vec<Int<T>> target) const {
    Vec<T> weight = broadcast<T>(1);
    if (p.sample_weight) weight = load_partial(p.sample_weight + row, count);
    if (p.class_weight)
      for (int r = 0; r < count; ++r) weight[r] *= target[r] >= 0 ? p.class_weight[target[r]] : T(0);
    return weight;
  }

  void keep_prediction(int64_t row, int count, Vec<Int<T>> predicted, Vec<Int<T>> right, int64_t& correct) const {
    for (int r = 0; r < count; ++r) {
      if (p.predicted) p.predicted[row + r] = predicted[r];
      correct -= right[r];
    }
  }
};

// `count` narrow rows from `row` on; with W, in the usual case: class indices, and neither weights nor by-products.
template <class T>
template <class K, int W>
SOFTSTEP_INLINE void Run<T>::narrow_rows(LaneLosses<T>& sum, int64_t row, int count, int64_t& correct) const {
  const int width = W ? W : static_cast<int>(p.classes);
  Vec<T> columns[W ? (W + lanes<T> - 1) / lanes<T> * lanes<T> : narrow_columns];
  load_columns<T, W>(columns, p.logits + row * p.classes, p.classes, count, width);
  Vec<Int<T>> target{};
  Vec<Int<T>> counted = lane_numbers<T>() < static_cast<Int<T>>(count);
  if (p.target) {
    target = labels(row, count);
    counted = target >= 0;
  }
  Vec<T> loss;
  if constexpr (W > 0) {
    loss = cross_entropy_lanes<T, K::gradient, W>(columns, width, target, broadcast<T>(share(T(1))));
  } else {
    Vec<T> mass[K::spread ? narrow_columns : 1], weight = broadcast<T>(1);
    LaneSums<T> sums;
    if constexpr (K::spread) {
      if (p.sample_weight) weight = load_partial(p.sample_weight + row, count);
      fill_mass(mass, width, row, count, target);
    } else {
      weight = index_weight(row, count, target);
    }
    if (wants_prediction()) {
      const Vec<Int<T>> predicted = argmax_lanes<T>(columns, width);
      keep_prediction(row, count, predicted, (predicted == target) & counted, correct);
    }
    if constexpr (K::spread) loss = cross_entropy_lanes<T, K::gradient>(columns, mass, width, share(weight), sums);
    else loss = cross_entropy_lanes<T, K::gradient>(columns, width, target, share(weight), &sums);
    loss = weighted_loss<T>(weight, loss);
    if (p.logsumexp) store_partial(p.logsumexp + row, sums.max + log1p<T>(sums.others), count);
  }
  loss = select<T>(counted, loss, Vec<T>{});
  if (p.row_loss) store_partial(p.row_loss + row, loss, count);
  if constexpr (K::gradient) {
    if (any(~counted))
      repeat<W>(width, [&](int c) SOFTSTEP_INLINE_LAMBDA { columns[c] = select<T>(counted, columns[c], Vec<T>{}); });
    store_columns<T, W>(p.dlogits + row * p.classes, p.classes, columns, count, width);
  }
  sum.add(loss);
}

template <class T>
template <class K, int W>
double Run<T>::narrow_tile(int64_t begin, int64_t end, int64_t& correct) const {
  LaneLosses<T> sum, last;  // the last rows on their own, so that the sum is the same for every W
  int64_t row = begin;
  if constexpr (W > 0) {
    for (; row + lanes<T> <= end; row += lanes<T>) narrow_rows<K, W>(sum, row, lanes<T>, correct);
    return sum.total() + narrow_tile<K, 0>(row, end, correct);
  } else {
    for (; row < end; row += lanes<T>) {
      const int count = static_cast<int>(std::min<int64_t>(lanes<T>, end - row));
      narrow_rows<K, W>(count == lanes<T> ? sum : last, row, count, correct);
    }
    return sum.total() + last.total();
  }
}

// The same for rows of middling width and class indices without smoothing.
template <class T>
template <bool Gradient>
SOFTSTEP_INLINE void Run<T>::block_rows(LaneLosses<T>& sum, int64_t row, int count, int64_t& correct) const {
  const int width = static_cast<int>(p.classes);
  const T* const x = p.logits + row * p.classes;
  T* const g = Gradient ? p.dlogits + row * p.classes : nullptr;
  const Vec<Int<T>> target = labels(row, count);
  const auto counted = target >= 0;
  Int<T> label[lanes<T>], predicted[lanes<T>] = {};
  std::memcpy(label, &target, sizeof label);
  const Vec<T> weight = index_weight(row, count, target);
  if (wants_prediction())
    for (int r = 0; r < count; ++r) {
      const T* const here = x + r * width;
      predicted[r] = static_cast<Int<T>>(std::find(here, here + width, row_max(here, width)) - here);
    }
  LaneSums<T> sums;
  Vec<T> loss = cross_entropy_block<T, Gradient>(g, x, width, count, label, share(weight), sums);
  if (p.logsumexp) store_partial(p.logsumexp + row, sums.max + log1p<T>(sums.others), count);
  if (wants_prediction()) {
    const Vec<Int<T>> found = load(predicted) | (sums.others != sums.others);
    keep_prediction(row, count, found, (found == target) & counted, correct);
  }
  loss = select<T>(counted, weighted_loss<T>(weight, loss), Vec<T>{});
  if (p.row_loss) store_partial(p.row_loss + row, loss, count);
  sum.add(loss);
}

template <class T>
template <bool Gradient>
double Run<T>::block_tile(int64_t begin, int64_t end, int64_t& correct) const {
  LaneLosses<T> sum;
  for (int64_t row = begin; row < end; row += lanes<T>)
    block_rows<Gradient>(sum, row, static_cast<int>(std::min<int64_t>(lanes<T>, end - row)), correct);
  return sum.total();
}

template <class T>
template <class K>
T Run<T>::wide_row(const WideRow<T>& wide, int64_t row, int64_t& correct) const {
  const int64_t target = p.target ? p.target[row] : -1;
  const bool counted = !p.target || target != p.ignore_index;
  WideSums<T> sums{};
  T loss = 0;
  int64_t predicted = -1;
  if (wants_prediction()) predicted = wide.find(wide.max());
  if (!counted) {
    if (p.logsumexp || p.predicted) sums = wide_sums<T, false, false>(wide, nullptr, wide.max(), {});
    if constexpr (K::gradient)
      wide.in_pieces([&](int64_t begin, int64_t end) { std::fill(wide.dlogits + begin, wide.dlogits + end, T(0)); });
  } else if constexpr (K::spread) {
    const RowMass<T> mass{p.distribution ? p.distribution + row * p.classes : nullptr, p.class_weight, keep, even};
    const T own = p.target ? keep * class_weight(target) : T(0), weight = sample_weight(row);
    loss = wide_spread_row<T, K::gradient>(wide, mass, target, own, share(weight), sums);
    loss = weighted_loss<T>(broadcast<T>(weight), broadcast<T>(loss))[0];
  } else {
    const T weight = class_weight(target) * sample_weight(row);
    loss = wide_index_row<T, K::gradient>(wide, target, share(weight), sums);
    loss = weighted_loss<T>(broadcast<T>(weight), broadcast<T>(loss))[0];
  }
  if (!(sums.others == sums.others)) predicted = -1;
  if (p.predicted) p.predicted[row] = predicted;
  if (p.logsumexp) p.logsumexp[row] = sums.max + sums.log_others();
  if (p.count_correct && counted) {
    const T* const d = p.distribution ? p.distribution + row * p.classes : nullptr;
    correct += predicted >= 0 && predicted == (d ? std::max_element(d, d + p.classes) - d : target);
  }
  if (p.row_loss) p.row_loss[row] = loss;
  return loss;
}

template <class T>
template <class K>
CrossEntropySum Run<T>::all_rows(int threads) const {
  const RowTiles tiles(p.rows, p.classes);
  const Team team(threads, tiles.exp_nanoseconds(sizeof(T)));
  std::vector<double> sums(static_cast<std::size_t>(tiles.count));
  std::vector<int64_t> correct(static_cast<std::size_t>(tiles.count));

  const bool may_stream = K::gradient && !K::spread && p.classes > narrow_columns && p.dlogits != p.logits;
  RowStreams<T, Times<T>> streams(may_stream ? p.rows : 0, p.classes, team.threads());
  const bool fetch = p.classes * static_cast<int64_t>(sizeof(T)) <= fetched_bytes;

  // Narrow rows of floats have a function for their width in the usual case.
  using Narrow = double (Run::*)(int64_t, int64_t, int64_t&) const;
  Narrow narrow = &Run::narrow_tile<K, 0>;
  if constexpr (K::gradient && !K::spread && std::is_same_v<T, float>) {
    static constexpr auto of_width = []<int... W>(std::integer_sequence<int, W...>) {
      return std::array<Narrow, sizeof...(W)>{&Run::narrow_tile<K, W>...};
    }(std::make_integer_sequence<int, transposed_columns + 1>{});
    const bool usual = !p.class_weight && !p.sample_weight && !p.logsumexp && !wants_prediction();
    if (usual && p.classes <= transposed_columns) narrow = of_width[static_cast<std::size_t>(p.classes)];
  }

  for_tiles(
      tiles.count, team,
      [&](int64_t tile, int thread, Interrupt& interrupt) {
        const int64_t begin = tiles.begin(tile), end = tiles.end(tile);
        double sum = 0;
        int64_t right = 0;
        if (!K::spread && p.classes > transposed_columns && p.classes <= narrow_columns) {
          sum = block_tile<K::gradient>(begin, end, right);
        } else if (p.classes <= narrow_columns) {
          sum = (this->*narrow)(begin, end, right);
        } else {
          for (int64_t row = begin; row < end; ++row) {
            const T* const x = p.logits + row * p.classes;
            T* const g = K::gradient ? p.dlogits + row * p.classes : nullptr;
            const T* const next = fetch && row + 1 < p.rows ? x + p.classes : nullptr;
            const WideRow<T> wide{x, next, p.classes, g, streams.of(thread), interrupt, thread};
            sum += wide_row<K>(wide, row, right);
          }
        }
        sums[static_cast<std::size_t>(tile)] = sum;
        correct[static_cast<std::size_t>(tile)] = right;
      },
      [&](int thread) { streams.finish(thread); });
  CrossEntropySum result{tree_sum(sums), 0};
  for (int64_t right : correct) result.correct += right;
  return result;
}

}  // namespace

template <class T>
CrossEntropySum cross_entropy(const CrossEntropy<T>& p, int threads) {
  const Run<T> run(p);
  if (p.distribution || p.label_smoothing != 0)
    return p.dlogits ? run.template all_rows<Kind<true, true>>(threads)
                     : run.template all_rows<Kind<false, true>>(threads);
  return p.dlogits ? run.template all_rows<Kind<true, false>>(threads)
                   : run.template all_rows<Kind<false, false>>(threads);
}

template CrossEntropySum cross_entropy(const CrossEntropy<float>&, int);
template CrossEntropySum cross_entropy(const CrossEntropy<double>&, int);

}  // namespace softstep
