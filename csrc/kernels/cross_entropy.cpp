#include "kernels/cross_entropy.hpp"

#include <algorithm>

#include "kernels/cross_entropy_lanes.hpp"
#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

// `count` narrow rows from `row` on; returns the sum of their losses.
template <class T, bool Gradient>
double narrow_rows(const CrossEntropy<T>& p, int64_t row, int count) {
  const int width = static_cast<int>(p.classes);
  Vec<T> columns[narrow_columns];
  load_columns<T>(columns, p.logits + row * p.classes, p.classes, count, width);
  Int<T> lane[lanes<T>];  // the classes, -1 for ignored rows and for lanes beyond the last row
  const int64_t* labels = p.target + row;
  if (count == lanes<T>) {
    for (int r = 0; r < lanes<T>; ++r) lane[r] = labels[r] == p.ignore_index ? -1 : static_cast<Int<T>>(labels[r]);
  } else {
    for (int r = 0; r < lanes<T>; ++r)
      lane[r] = r >= count || labels[r] == p.ignore_index ? -1 : static_cast<Int<T>>(labels[r]);
  }
  const Vec<Int<T>> target = load(lane);
  const auto counted = target >= 0;
  const Vec<T> loss =
      select<T>(counted, cross_entropy_lanes<T, Gradient>(columns, width, target, broadcast<T>(p.weight)), Vec<T>{});
  if (p.row_loss) store_partial(p.row_loss + row, loss, count);
  if constexpr (Gradient) {
    if (any(~counted))
      for (int c = 0; c < width; ++c) columns[c] = select<T>(counted, columns[c], Vec<T>{});
    store_columns<T>(p.dlogits + row * p.classes, p.classes, columns, count, width);
  }
  return sum_in_double(loss);
}

template <class T, bool Gradient>
T wide_row(const CrossEntropy<T>& p, int64_t row) {
  const T* x = p.logits + row * p.classes;
  T* g = Gradient ? p.dlogits + row * p.classes : nullptr;
  const int64_t target = p.target[row];
  if (target == p.ignore_index) {
    if constexpr (Gradient) std::fill(g, g + p.classes, T(0));
    return 0;
  }
  const T chosen = x[target];
  const RowSums<T> sums = exp_row<T, Gradient>(g, x, p.classes);
  if constexpr (Gradient) {
    const T scale = T(1) / sums.total();
    const T factor = scale * p.weight;
    const T own = chosen == sums.max ? -sums.others * scale : g[target] * scale - T(1);
    for (int64_t c = 0; c < p.classes; ++c) g[c] *= factor;
    g[target] = own * p.weight;
  }
  return sums.log_total() + (sums.max - chosen);
}

template <class T, bool Gradient>
double all_rows(const CrossEntropy<T>& p, int threads) {
  const RowTiles tiles(p.rows, p.classes);
  const Team team(threads, tiles.exp_nanoseconds(sizeof(T)));
  std::vector<double> sums(static_cast<std::size_t>(tiles.count));
  for_tiles(tiles.count, team, [&](int64_t tile, int) {
    const int64_t begin = tiles.begin(tile), end = tiles.end(tile);
    double sum = 0;
    if (p.classes <= narrow_columns) {
      for (int64_t row = begin; row < end; row += lanes<T>)
        sum += narrow_rows<T, Gradient>(p, row, static_cast<int>(std::min<int64_t>(end - row, lanes<T>)));
    } else {
      for (int64_t row = begin; row < end; ++row) {
        const T loss = wide_row<T, Gradient>(p, row);
        if (p.row_loss) p.row_loss[row] = loss;
        sum += loss;
      }
    }
    sums[static_cast<std::size_t>(tile)] = sum;
  });
  return tree_sum(sums);
}

}  // namespace

template <class T>
double cross_entropy(const CrossEntropy<T>& problem, int threads) {
  return problem.dlogits ? all_rows<T, true>(problem, threads) : all_rows<T, false>(problem, threads);
}

template double cross_entropy(const CrossEntropy<float>&, int);
template double cross_entropy(const CrossEntropy<double>&, int);

}  // namespace softstep
