// The types features may have, as a value: what drivers pass along to the functions that load and convert.
#pragma once

#include <algorithm>

#include "simd/convert.hpp"

namespace softstep {

enum class Feature { uint8, int8, float16, bfloat16, float32, float64 };

template <class X>
constexpr Feature feature_of() {
  if constexpr (std::is_same_v<X, std::uint8_t>) return Feature::uint8;
  else if constexpr (std::is_same_v<X, std::int8_t>) return Feature::int8;
  else if constexpr (std::is_same_v<X, Float16>) return Feature::float16;
  else if constexpr (std::is_same_v<X, BFloat16>) return Feature::bfloat16;
  else if constexpr (std::is_same_v<X, float>) return Feature::float32;
  else return Feature::float64;
}

// f(X{}) for the type that the value stands for.
template <class F>
decltype(auto) with_type(Feature feature, F f) {
  switch (feature) {
    case Feature::uint8:
      return f(std::uint8_t{});
    case Feature::int8:
      return f(std::int8_t{});
    case Feature::float16:
      return f(Float16{});
    case Feature::bfloat16:
      return f(BFloat16{});
    case Feature::float32:
      return f(float{});
    default:
      return f(double{});
  }
}

inline int64_t size_of(Feature feature) {
  return with_type(feature, []<class X>(X) { return static_cast<int64_t>(sizeof(X)); });
}

// Rows of features: row i begins row_bytes * i bytes after data. A feature f counts as f scale + shift (scale and
// shift: (columns,) each, both or neither). With an order, position i means row order[i].
template <class T>
struct Features {
  Feature type = feature_of<T>();
  const void* data = nullptr;
  int64_t row_bytes = 0, columns = 0;
  const T *scale = nullptr, *shift = nullptr;
  const int64_t* order = nullptr;

  int64_t row_stride() const { return row_bytes / size_of(type); }
  int64_t number(int64_t position) const { return order ? order[position] : position; }
  const void* at(int64_t position) const { return static_cast<const char*>(data) + number(position) * row_bytes; }

  // The rows from a position on.
  Features from(int64_t position) const {
    Features rest = *this;
    if (order) rest.order = order + position;
    else rest.data = at(position);
    return rest;
  }
};

constexpr int64_t rows_together = 8;

// visit(row, from, to): elements from .. to - 1 of rows first .. end - 1, whose `size` elements begin at at(row); eight
// lines of memory at a time, or what is left of a row. A processor's own prefetching follows one row at a time, and
// each begins somewhere else: so the next eight, none beyond `last`, are fetched side by side, a line of each before a
// piece.
template <class At, class Visit>
SOFTSTEP_INLINE void for_row_pieces(int64_t first, int64_t end, int64_t last, int64_t size, At at, Visit visit) {
  using X = std::remove_cvref_t<decltype(*at(first))>;
  constexpr int64_t line = 64 / sizeof(X), piece = 8 * line;
  for (; first < end; first += rows_together) {
    const X* next[rows_together];
    for (int64_t i = 0; i < rows_together; ++i) next[i] = at(std::min(first + rows_together + i, last));
    int64_t ahead = 0;
    for (int64_t row = first; row < std::min(first + rows_together, end); ++row)
      for (int64_t from = 0; from < size; from += piece, ahead += line) {
        if (ahead < size)
          for (const X* p : next) prefetch_soon(p + ahead);
        visit(row, from, std::min(from + piece, size));
      }
  }
}

}  // namespace softstep
