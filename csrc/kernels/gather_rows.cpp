#include "kernels/gather_rows.hpp"

#include <cstring>

#include "kernels/row_tiles.hpp"

namespace softstep {

namespace {

constexpr int64_t line = 64;
constexpr int64_t together = 8;

// copy(i, from, to): bytes from .. to - 1 of row i, for all rows, in chunks of a line of memory, or of `chunk` bytes if
// these are more; at(i) is where row i begins.
template <class At, class Copy>
void for_chunks(int64_t rows, int64_t row_bytes, int64_t chunk, int threads, At at, Copy copy) {
  if (row_bytes == 0) return;  // there may be more such rows than could be counted
  const RowTiles tiles(rows, (row_bytes + 3) / 4);
  const Team team(threads, static_cast<double>(rows) * static_cast<double>(row_bytes) * 0.2);
  for_tiles(tiles.count, team, [&](int64_t tile, int) {
    const int64_t end = tiles.end(tile);
    for (int64_t first = tiles.begin(tile); first < end; first += together) {
      const char* next[together];
      for (int64_t i = 0; i < together; ++i) next[i] = at(std::min(first + together + i, rows - 1));
      int64_t fetched = 0;
      for (int64_t i = first; i < std::min(first + together, end); ++i)
        for (int64_t from = 0; from < row_bytes; from += chunk) {
          for (int64_t l = 0; l < chunk; l += line, ++fetched)
            prefetch_soon(next[fetched % together] + std::min(fetched / together * line, row_bytes - 1));
          copy(i, from, std::min(from + chunk, row_bytes));
        }
    }
  });
}

template <class T, bool Shifted>
SOFTSTEP_INLINE Vec<T> scaled(std::type_identity_t<Vec<T>> x, std::type_identity_t<Vec<T>> scale,
                              std::type_identity_t<Vec<T>> shift) {
  return Shifted ? x * scale + shift : x * scale;
}

template <class T, class X, bool Scaled, bool Shifted>
void convert_rows(T* out, const Features<T>& x, int64_t rows, int threads) {
  constexpr int L = lanes<T>;
  constexpr int64_t size = sizeof(X), chunk = std::max(line, L * size);
  for_chunks(
      rows, x.columns * size, chunk, threads, [&](int64_t i) { return static_cast<const char*>(x.at(i)); },
      [&](int64_t i, int64_t from, int64_t to) {
        const X* const row = static_cast<const X*>(x.at(i));
        T* const place = out + i * x.columns;
        const auto some = [&](int64_t k, auto load_features, auto load_factors, auto put) {
          Vec<T> v = load_features(row + k);
          if (Scaled)
            v = scaled<T, Shifted>(v, load_factors(x.scale + k), load_factors((Shifted ? x.shift : x.scale) + k));
          put(place + k, v);
        };
        int64_t k = from / size;
        for (const int64_t end = to / size; k < end; k += L) {
          if (const int count = static_cast<int>(end - k); count < L) {
            some(
                k, [&](const X* p) { return load_as_range<T>(p, 0, count); },
                [&](const T* p) { return load_partial(p, count); },
                [&](T* p, Vec<T> v) { store_partial(p, v, count); });
          } else {
            some(
                k, [](const X* p) { return load_as<T>(p); }, [](const T* p) { return load(p); },
                [](T* p, Vec<T> v) { store(p, v); });
          }
        }
      });
}

}  // namespace

template <class T>
void gather_rows(T* out, const Features<T>& x, int64_t rows, int threads) {
  with_type(x.type, [&]<class X>(X) {
    if (x.shift) convert_rows<T, X, true, true>(out, x, rows, threads);
    else if (x.scale) convert_rows<T, X, true, false>(out, x, rows, threads);
    else convert_rows<T, X, false, false>(out, x, rows, threads);
  });
}

void gather_bytes(char* out, const char* data, int64_t stride, int64_t row_bytes, const int64_t* order, int64_t rows,
                  int threads) {
  const auto at = [&](int64_t i) { return data + (order ? order[i] : i) * stride; };
  for_chunks(rows, row_bytes, line, threads, at, [&](int64_t i, int64_t from, int64_t to) {
    char* const place = out + i * row_bytes + from;
    const char* const source = at(i) + from;
    if (to - from == line) std::memcpy(place, source, line);
    else std::memcpy(place, source, static_cast<std::size_t>(to - from));
  });
}

template void gather_rows(float*, const Features<float>&, int64_t, int);
template void gather_rows(double*, const Features<double>&, int64_t, int);

}  // namespace softstep
