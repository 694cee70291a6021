// How row-wise kernels cut a matrix: whole rows, about 64 KB of float32 a tile, a multiple of 64 rows where rows are
// short, or else of `together` if there are as many.
#pragma once

#include "parallel.hpp"

namespace softstep {

struct RowTiles {
  int64_t rows, columns, height, count;

  RowTiles(int64_t rows, int64_t columns, int64_t together = 1) : rows(rows), columns(columns) {
    height = 16384 / (columns > 0 ? columns : 1);
    if (height >= 64) together = 64;
    height = height >= together ? height / together * together : height > 0 ? height : 1;
    count = (rows + height - 1) / height;
  }
  int64_t begin(int64_t tile) const { return tile * height; }
  int64_t end(int64_t tile) const { return (tile + 1) * height < rows ? (tile + 1) * height : rows; }

  // Rough time of one exp an element on one thread, for the choice of threads.
  double exp_nanoseconds(std::size_t element) const {
    return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(element) * 0.1;
  }
};

}  // namespace softstep
