#include "kernels/linear_tiles.hpp"

#include <algorithm>

#include "simd/convert.hpp"

namespace softstep {

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int most_rows = 4, wide_classes = 10;  // 32 registers
#else
constexpr int most_rows = 2, wide_classes = 0;  // 16 registers
#endif
template <class T>
constexpr int row_block = lanes<T> < most_rows ? lanes<T> : most_rows;
constexpr int class_block = 5;
constexpr int cache_line = 64;

// One vector of features from k on, the last of a row with its missing lanes zero.
template <class T, class X, bool Affine, bool Whole>
SOFTSTEP_INLINE Vec<T> features(const X* row, int64_t k, const LinearShape<T>& shape) {
  Vec<T> x;
  if constexpr (Whole) x = load_as<T>(row + k);
  else x = load_as_partial<T>(row + k, static_cast<int>(shape.features - k));
  if constexpr (Affine) x = fma<T>(x, load(shape.scale + k), load(shape.shift + k));
  return x;
}

// The products of row_block rows and NC classes over features begin .. end, not yet added across lanes: sums[c * lanes + r].
template <class T, class X, bool Affine, int NC>
SOFTSTEP_INLINE void forward_block(Vec<T>* sums, const X* const* rows, const T* weight, const LinearShape<T>& shape, int64_t begin,
                                   int64_t end, const char* next) {
  constexpr int L = lanes<T>;
  Vec<T> acc[NC][row_block<T>] = {};
  const auto multiply_add = [&]<bool Whole>(std::bool_constant<Whole>, int64_t k) {
    Vec<T> x[row_block<T>];
#pragma GCC unroll 4
    for (int r = 0; r < row_block<T>; ++r) x[r] = features<T, X, Affine, Whole>(rows[r], k, shape);
#pragma GCC unroll 5
    for (int c = 0; c < NC; ++c) {
      const Vec<T> w = load(weight + c * shape.stride + k);
#pragma GCC unroll 4
      for (int r = 0; r < row_block<T>; ++r) acc[c][r] = fma<T>(w, x[r], acc[c][r]);
    }
  };
  const int64_t whole = begin + (end - begin) / L * L;
  for (int64_t k = begin; k < whole; k += L) {
    if (next) {
      for (int line = 0; line < L * static_cast<int>(sizeof(X)); line += cache_line)
        prefetch(next + k * static_cast<int64_t>(sizeof(X)) + line);
    }
    multiply_add(std::true_type{}, k);
  }
  if (whole < end) multiply_add(std::false_type{}, whole);
#pragma GCC unroll 5
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 4
    for (int r = 0; r < row_block<T>; ++r) sums[c * L + r] = acc[c][r];
}

// How many of the next tile's rows forward fetches; backward fetches the others.
template <class T>
int rows_fetched_forward(const LinearShape<T>& shape, int blocks) {
  const int64_t calls = (shape.outputs + class_block - 1) / class_block * blocks;
  return static_cast<int>(std::min<int64_t>(calls, tile_rows));
}

// Classes first .. first + NC - 1 of all rows of the tile, over features begin .. end.
template <class T, class X, bool Affine, int NC>
void forward_classes(T* logits, const TileRows& x, const T* weight, const T* bias, const LinearShape<T>& shape, int64_t first,
                     int64_t begin, int64_t end) {
  constexpr int L = lanes<T>;
  const X* const* rows = reinterpret_cast<const X* const*>(x.rows);
  const int blocks = (x.count + L - 1) / L * (L / row_block<T>);
  int fetched = static_cast<int>(std::min<int64_t>(first / class_block * blocks, tile_rows));
  alignas(64) Vec<T> sums[NC * L];
  for (int group = 0; group < x.count; group += L) {
    for (int r = 0; r < L; r += row_block<T>, ++fetched) {
      const char* next = x.next && fetched < tile_rows ? static_cast<const char*>(x.next[fetched]) : nullptr;
      forward_block<T, X, Affine, NC>(sums + r, rows + group + r, weight + first * shape.stride, shape, begin, end, next);
    }
    for (int c = 0; c < NC; ++c) {
      T* place = logits + tile_place<T>(group, first + c, shape.outputs);
      const Vec<T> before = begin ? load(place) : broadcast<T>(bias ? bias[first + c] : T(0));
      store(place, before + row_sums<T>(sums + c * L));
    }
  }
}

template <class T, class X, bool Affine>
void forward(T* logits, const TileRows& x, const T* weight, const T* bias, const LinearShape<T>& shape) {
  constexpr int64_t chain = 512 * lanes<T>;  // features in one unbroken sum
  for (int64_t begin = 0; begin == 0 || begin < shape.features; begin += chain) {
    const int64_t end = std::min(begin + chain, shape.features);
    const auto classes = [&]<int NC>(std::integral_constant<int, NC>, int64_t first) {
      forward_classes<T, X, Affine, NC>(logits, x, weight, bias, shape, first, begin, end);
    };
    int64_t first = 0;
    for (; first + class_block <= shape.outputs; first += class_block) classes(std::integral_constant<int, class_block>{}, first);
    switch (shape.outputs - first) {
      case 4: classes(std::integral_constant<int, 4>{}, first); break;
      case 3: classes(std::integral_constant<int, 3>{}, first); break;
      case 2: classes(std::integral_constant<int, 2>{}, first); break;
      case 1: classes(std::integral_constant<int, 1>{}, first); break;
      default: break;
    }
  }
}

// NC classes times V vectors of features from k on, over the rows of the tile.
template <class T, class X, bool Affine, bool Whole, int NC, int V>
SOFTSTEP_INLINE void backward_block(T* dweight, const TileRows& x, const T* dlogits, int64_t k, const LinearShape<T>& shape, bool first,
                                    int fetch_from) {
  constexpr int L = lanes<T>;
  constexpr int block_bytes = V * L * static_cast<int>(sizeof(X));
  constexpr int lines = block_bytes < cache_line ? 1 : block_bytes / cache_line;
  const X* const* rows = reinterpret_cast<const X* const*>(x.rows);
  Vec<T> acc[NC][V];
#pragma GCC unroll 10
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[c][v] = first ? Vec<T>{} : load(dweight + c * shape.stride + k + v * L);
  // Spread evenly: `lines` lines of each of the rows still to fetch, over the rows of this tile.
  const int total = (tile_rows - fetch_from) * lines;
  int fetched = 0, due = 0;
  for (int r = 0; r < x.count; ++r) {
    for (due += total; due >= tile_rows && fetched < total; due -= tile_rows, ++fetched)
      prefetch(static_cast<const char*>(x.next[fetch_from + fetched / lines]) + k * static_cast<int64_t>(sizeof(X)) +
               fetched % lines * cache_line);
    Vec<T> xv[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) xv[v] = features<T, X, Affine, Whole>(rows[r], k + v * L, shape);
#pragma GCC unroll 10
    for (int c = 0; c < NC; ++c) {
      const Vec<T> g = broadcast<T>(dlogits[tile_place<T>(r, c, shape.outputs)]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[c][v] = fma<T>(g, xv[v], acc[c][v]);
    }
  }
#pragma GCC unroll 10
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(dweight + c * shape.stride + k + v * L, acc[c][v]);
}

// NC classes over all features.
template <class T, class X, bool Affine, int NC, int V>
void backward_classes(T* dweight, const TileRows& x, const T* dlogits, const LinearShape<T>& shape, bool first, int fetch_from) {
  constexpr int L = lanes<T>;
  int64_t k = 0;
  for (; k + V * L <= shape.features; k += V * L)
    backward_block<T, X, Affine, true, NC, V>(dweight, x, dlogits, k, shape, first, fetch_from);
  for (; k + L <= shape.features; k += L)
    backward_block<T, X, Affine, true, NC, 1>(dweight, x, dlogits, k, shape, first, fetch_from);
  if (k < shape.features) backward_block<T, X, Affine, false, NC, 1>(dweight, x, dlogits, k, shape, first, fetch_from);
}

template <class T, class X, bool Affine>
void backward(T* dweight, T* dbias, const TileRows& x, const T* dlogits, const LinearShape<T>& shape, bool first) {
  constexpr int V = row_block<T>;  // so that class_block * V sums fill the registers
  const int64_t outputs = shape.outputs;
  const int blocks = (x.count + lanes<T> - 1) / lanes<T> * (lanes<T> / row_block<T>);
  int fetch_from = x.next ? rows_fetched_forward(shape, blocks) : tile_rows;
  int64_t c = 0;
  const auto classes = [&]<int NC, int Vectors>(std::integral_constant<int, NC>, std::integral_constant<int, Vectors>) {
    backward_classes<T, X, Affine, NC, Vectors>(dweight + c * shape.stride, x, dlogits + c * lanes<T>, shape, first, fetch_from);
    c += NC;
    fetch_from = tile_rows;  // the first classes' pass has fetched them all
  };
  if constexpr (wide_classes > 0)
    while (outputs - c >= wide_classes) classes(std::integral_constant<int, wide_classes>{}, std::integral_constant<int, 2>{});
  while (outputs - c >= class_block) classes(std::integral_constant<int, class_block>{}, std::integral_constant<int, V>{});
  switch (outputs - c) {
    case 4: classes(std::integral_constant<int, 4>{}, std::integral_constant<int, V>{}); break;
    case 3: classes(std::integral_constant<int, 3>{}, std::integral_constant<int, V>{}); break;
    case 2: classes(std::integral_constant<int, 2>{}, std::integral_constant<int, V>{}); break;
    case 1: classes(std::integral_constant<int, 1>{}, std::integral_constant<int, V>{}); break;
    default: break;
  }
  for (int64_t o = 0; o < outputs; ++o) {
    Vec<T> sum{};
    for (int r = 0; r < x.count; r += lanes<T>) sum += load_partial(dlogits + tile_place<T>(r, o, outputs), std::min(lanes<T>, x.count - r));
    dbias[o] = sum_lanes<T>(sum) + (first ? T(0) : dbias[o]);
  }
}

template <class T, class X>
LinearTiles<T> tiles_for(bool affine) {
  if (affine) return {forward<T, X, true>, backward<T, X, true>};
  return {forward<T, X, false>, backward<T, X, false>};
}

}  // namespace

template <class T>
LinearTiles<T> linear_tiles(Feature feature, bool affine) {
  switch (feature) {
    case Feature::uint8: return tiles_for<T, std::uint8_t>(affine);
    case Feature::float32: return tiles_for<T, float>(affine);
    default: return tiles_for<T, double>(affine);
  }
}

template LinearTiles<float> linear_tiles<float>(Feature, bool);
template LinearTiles<double> linear_tiles<double>(Feature, bool);

}  // namespace softstep
