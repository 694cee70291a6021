// How kernels along one axis cut an array: tiles of rows (row_tiles.hpp), or of blocks of `lanes` inner elements.
#pragma once

#include "kernels/exp_sums.hpp"
#include "kernels/row_tiles.hpp"
#include "kernels/strided.hpp"

namespace softstep {

// Rough time on one thread, for the choice of threads.
template <class T>
double axis_nanoseconds(const Extent& extent) {
  return RowTiles(extent.outer * extent.inner, extent.columns).exp_nanoseconds(sizeof(T));
}

// rows(begin, end, thread, stop) or lanes(place, stop) for every part of the array, in tiles over threads; stop() asks
// whether to give up. rows_done(thread) follows when a thread has no more rows.
template <class T, class Rows, class Lanes, class Done = void (*)(int)>
void for_axis(const Extent& extent, const Team& team, Rows rows, Lanes lanes_of, Done rows_done = [](int) {}) {
  constexpr int L = lanes<T>;
  const int64_t outer = extent.outer, columns = extent.columns, inner = extent.inner;
  if (extent.in_rows()) {
    const RowTiles tiles(outer, columns);
    for_tiles(
        tiles.count, team,
        [&](int64_t tile, int thread, Interrupt& interrupt) {
          rows(tiles.begin(tile), tiles.end(tile), thread, [&] { return interrupt.check(thread); });
        },
        rows_done);
  } else {
    const int64_t blocks = (inner + L - 1) / L;
    const RowTiles tiles(outer * blocks, columns * L);
    for_tiles(tiles.count, team, [&](int64_t tile, int thread, Interrupt& interrupt) {
      for (int64_t block = tiles.begin(tile); block < tiles.end(tile); ++block) {
        const int64_t first = block % blocks * L;
        const int count = static_cast<int>(inner - first < L ? inner - first : L);
        lanes_of(Place{block / blocks, first, count}, [&] { return interrupt.check(thread); });
      }
    });
  }
}

template <class T>
struct LaneTotals {
  double value[lanes<T>];

  Vec<T> rounded() const {
    T narrow[lanes<T>];
    for (int i = 0; i < lanes<T>; ++i) narrow[i] = static_cast<T>(value[i]);
    return load(narrow);
  }
};

// The sum of n terms along the axis in every lane, by the same additions in the same order as sum_in_blocks
// (exp_sums.hpp) makes along a row: lane numbers of a row are element numbers here. add(sum, j) adds term j to the
// vector `sum`.
template <class T, class Add, class NextBlock, class Stop>
SOFTSTEP_INLINE LaneTotals<T> sum_of_lanes(int64_t n, Add add, NextBlock next_block, Stop stop) {
  constexpr int L = lanes<T>;
  constexpr int64_t block_size = 32 * L;
  CompensatedSum totals[L];
  for (int64_t first = 0; first < n; first += block_size) {
    if (first % (ask_every / L) == 0 && first > 0 && stop()) break;
    const int64_t end = first + block_size < n ? first + block_size : n;
    const int64_t whole = first + (end - first) / (4 * L) * (4 * L);
    Vec<T> sums[4 * L] = {};
    for (int64_t j = first; j < whole; ++j) add(sums[(j - first) % (4 * L)], j);
    for (int64_t j = whole; j < end; ++j) add(sums[(j - whole) % L], j);
    Vec<T> each[L];
    for (int i = 0; i < L; ++i) each[i] = (sums[i] + sums[L + i]) + (sums[2 * L + i] + sums[3 * L + i]);
    transpose<T>(each);
    for (int lane = 0; lane < L; ++lane) totals[lane].add(sum_in_double(each[lane]));
    next_block();
  }
  LaneTotals<T> result;
  for (int lane = 0; lane < L; ++lane) result.value[lane] = totals[lane].total();
  return result;
}

}  // namespace softstep
