// sums[c] += sum over the rows of a[row][c], in double: the gradient of a bias. The order depends on nothing but the
// number of rows: chains of 512 of them, added one after the other, so that a long sum of doubles keeps its digits too.
#pragma once

#include <algorithm>

#include "parallel.hpp"

namespace softstep {

template <class T>
void add_column_sums(std::vector<double>& sums, const T* a, int64_t rows, int threads) {
  const auto columns = static_cast<int64_t>(sums.size());
  constexpr int64_t width = 512, chain = 512;
  constexpr int together = 8;  // rows, for each of which the sums would go to the first-level cache and back
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(columns) * 0.2);
  for_tiles((columns + width - 1) / width, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
    const int64_t begin = tile * width, end = std::min(begin + width, columns);
    for (int64_t first = 0; first < rows && !interrupt.check(thread); first += chain) {
      double sum[width] = {};
      const auto add = [&]<int Rows>(int64_t row, std::integral_constant<int, Rows>) {
        for (int64_t c = begin; c < end; ++c) {
          double s = sum[c - begin];
#pragma GCC unroll 8
          for (int r = 0; r < Rows; ++r) s += static_cast<double>(a[(row + r) * columns + c]);
          sum[c - begin] = s;
        }
      };
      const int64_t last = std::min(first + chain, rows);
      int64_t row = first;
      for (; row + together <= last; row += together) add(row, std::integral_constant<int, together>{});
      for (; row < last; ++row) add(row, std::integral_constant<int, 1>{});
      for (int64_t c = begin; c < end; ++c) sums[static_cast<std::size_t>(c)] += sum[c - begin];
    }
  });
}

template <class T>
void write_sums(T* out, const std::vector<double>& sums) {
  for (double sum : sums) *out++ = static_cast<T>(sum);
}

}  // namespace softstep
