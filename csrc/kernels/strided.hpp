// One axis of an array with any strides, for kernels that reduce along it.
//
// An array is seen as (outer, columns, inner): the axis, and what stands before and after it. Two layouts are read in
// place, whatever the other strides are: without inner axes, columns that lie side by side ("rows"); with them, inner
// elements that lie side by side, which then stand in the lanes of a vector ("lanes"). Outputs are contiguous.
#pragma once

#include "simd/columns.hpp"

namespace softstep {

struct Extent {
  int64_t outer, columns, inner;

  bool in_rows() const { return inner == 1; }
  int64_t size() const { return outer * columns * inner; }
};

// Strides in elements; in rows the column's is 1, else the inner one is.
template <class T>
struct Strided {
  const T* data;
  int64_t outer, column;

  const T* at(int64_t o, int64_t i) const { return data + o * outer + i; }
};

// `count` (up to `lanes`) neighbouring rows from `outer` on, or inner elements from `inner` on, as narrow columns.
struct Place {
  int64_t outer, inner;
  int count;
};

template <class T>
SOFTSTEP_INLINE void load_narrow(Vec<T>* columns, const Strided<T>& from, const Extent& extent, const Place& place) {
  const int width = static_cast<int>(extent.columns);
  const T* const p = from.at(place.outer, place.inner);
  if (extent.in_rows()) {
    load_columns<T>(columns, p, from.outer, place.count, width);
  } else if (place.count == lanes<T>) {
    for (int c = 0; c < width; ++c) columns[c] = load(p + c * from.column);
  } else {
    for (int c = 0; c < width; ++c) columns[c] = load_partial(p + c * from.column, place.count);
  }
}

template <class T>
SOFTSTEP_INLINE void store_narrow(T* out, const Vec<T>* columns, const Extent& extent, const Place& place) {
  const int width = static_cast<int>(extent.columns);
  T* const p = out + place.outer * extent.columns * extent.inner + place.inner;
  if (extent.in_rows()) {
    store_columns<T>(p, width, columns, place.count, width);
  } else {
    for (int c = 0; c < width; ++c) store_partial(p + c * extent.inner, columns[c], place.count);
  }
}

}  // namespace softstep
