// sums[c] += sum over the rows of a[row][c], in double: the gradient of a bias. Each column is one chain over the rows,
// so the order depends on nothing but their number.
#pragma once

#include <algorithm>

#include "parallel.hpp"

namespace softstep {

template <class T>
void add_column_sums(std::vector<double>& sums, const T* a, int64_t rows, int threads) {
  const auto columns = static_cast<int64_t>(sums.size());
  constexpr int64_t width = 512;
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(columns) * 0.2);
  for_tiles((columns + width - 1) / width, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
    const int64_t begin = tile * width, end = std::min(begin + width, columns);
    double* sum = sums.data();
    for (int64_t row = 0; row < rows; ++row) {
      if (row % 4096 == 4095 && interrupt.check(thread)) return;
      for (int64_t c = begin; c < end; ++c) sum[c] += static_cast<double>(a[row * columns + c]);
    }
  });
}

template <class T>
void write_sums(T* out, const std::vector<double>& sums) {
  for (double sum : sums) *out++ = static_cast<T>(sum);
}

}  // namespace softstep
