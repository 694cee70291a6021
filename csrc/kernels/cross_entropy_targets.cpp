// The checks of cross-entropy's targets and weights, and the divisor of its mean.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cross_entropy.hpp"
#include "kernels/exp_sums.hpp"
#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

constexpr int64_t tile_labels = int64_t{1} << 16;

// Which labels are neither a class nor ignored, and what the others weigh.
template <class T>
TargetCheck check_labels(const CrossEntropy<T>& p, int threads) {
  const auto classes = static_cast<std::uint64_t>(p.classes);
  const auto tiles = (p.rows + tile_labels - 1) / tile_labels;
  std::vector<double> divisors(static_cast<std::size_t>(tiles));
  std::vector<int64_t> bad(static_cast<std::size_t>(tiles), -1);
  for_tiles(tiles, Team(threads, static_cast<double>(p.rows)), [&](int64_t tile, int) {
    const int64_t* const target = p.target + tile * tile_labels;
    const int64_t count = std::min(p.rows - tile * tile_labels, tile_labels);
    const int64_t ignore_index = p.ignore_index;
    int64_t counted = 0, wrong = 0;
    for (int64_t i = 0; i < count; ++i) {
      const bool ignored = target[i] == ignore_index;
      counted += !ignored;
      wrong += !ignored & (static_cast<std::uint64_t>(target[i]) >= classes);
    }
    double& divisor = divisors[static_cast<std::size_t>(tile)];
    if (wrong) {
      int64_t row = 0;
      while (target[row] == ignore_index || static_cast<std::uint64_t>(target[row]) < classes) ++row;
      bad[static_cast<std::size_t>(tile)] = tile * tile_labels + row;
    } else if (!p.class_weight && !p.sample_weight) {
      divisor = static_cast<double>(counted);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        if (target[i] == ignore_index) continue;
        const double weight = p.class_weight ? static_cast<double>(p.class_weight[target[i]]) : 1.0;
        divisor += p.sample_weight ? weight * static_cast<double>(p.sample_weight[tile * tile_labels + i]) : weight;
      }
    }
  });
  TargetCheck check;
  check.divisor = tree_sum(divisors);
  for (int64_t row : bad) {
    if (row < 0) continue;
    check.bad_row = row;
    break;
  }
  return check;
}

struct RowSum {
  double sum;
  bool negative;  // or NaN, somewhere
};

template <class T>
RowSum row_sum(const T* p, int64_t n, Interrupt& interrupt, int thread) {
  constexpr int L = lanes<T>;
  constexpr int64_t block_size = 32 * L;
  CompensatedSum sum;
  Vec<Int<T>> wrong{};
  for (int64_t first = 0; first < n; first += block_size) {
    if (first % (4096 * block_size) == 0 && first && interrupt.check(thread)) break;
    const int64_t end = first + block_size < n ? first + block_size : n;
    Vec<T> block{};
    for (int64_t i = first; i < end; i += L) {
      const Vec<T> v = end - i < L ? load_partial(p + i, static_cast<int>(end - i)) : load(p + i);
      block += v;
      wrong |= ~(v >= T(0));
    }
    sum.add(sum_in_double(block));
  }
  return {sum.total(), any(wrong)};
}

template <class T>
TargetCheck check_distributions(const CrossEntropy<T>& p, int threads) {
  const RowTiles tiles(p.rows, p.classes);
  const Team team(threads, tiles.exp_nanoseconds(sizeof(T)) / 4);
  std::vector<TargetCheck> checks(static_cast<std::size_t>(tiles.count));
  for_tiles(tiles.count, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
    for (int64_t row = tiles.begin(tile); row < tiles.end(tile); ++row) {
      const T* const target = p.distribution + row * p.classes;
      const RowSum found = row_sum(target, p.classes, interrupt, thread);
      if (!found.negative && std::abs(found.sum - 1) <= p.tolerance) continue;
      TargetCheck& check = checks[static_cast<std::size_t>(tile)];
      check.bad_row = row;
      check.bad_sum = found.sum;
      if (found.negative)
        for (check.bad_column = 0; target[check.bad_column] >= 0;) ++check.bad_column;
      return;
    }
  });
  for (const TargetCheck& check : checks)
    if (check.bad_row >= 0) return check;
  TargetCheck check;
  check.divisor = static_cast<double>(p.rows);
  if (p.sample_weight) {
    check.divisor = 0;
    for (int64_t i = 0; i < p.rows; ++i) check.divisor += static_cast<double>(p.sample_weight[i]);
  }
  return check;
}

}  // namespace

template <class T>
TargetCheck check_targets(const CrossEntropy<T>& problem, int threads) {
  return problem.target ? check_labels(problem, threads) : check_distributions(problem, threads);
}

template <class T>
int64_t first_bad_weight(const T* weight, int64_t count, int threads) {
  if (!weight) return -1;
  const int64_t tiles = (count + tile_labels - 1) / tile_labels;
  std::vector<int64_t> bad(static_cast<std::size_t>(tiles), -1);
  for_tiles(tiles, Team(threads, static_cast<double>(count)), [&](int64_t tile, int) {
    const int64_t end = std::min(count, (tile + 1) * tile_labels);
    for (int64_t i = tile * tile_labels; i < end; ++i) {
      if (weight[i] >= 0 && weight[i] <= std::numeric_limits<T>::max()) continue;
      bad[static_cast<std::size_t>(tile)] = i;
      return;
    }
  });
  for (int64_t i : bad)
    if (i >= 0) return i;
  return -1;
}

template TargetCheck check_targets(const CrossEntropy<float>&, int);
template TargetCheck check_targets(const CrossEntropy<double>&, int);
template int64_t first_bad_weight(const float*, int64_t, int);
template int64_t first_bad_weight(const double*, int64_t, int);

}  // namespace softstep
