#include "kernels/linear_tiles.hpp"

#include <algorithm>

#include "kernels/matrix_tiles.hpp"

namespace softstep {

namespace {

// Rows forward, and vectors of features backward, whose sums of NC classes are in registers.
template <class T, int NC>
constexpr int row_block = std::min(lanes<T>, vector_registers / (NC <= 2 ? 4 : 8));
constexpr int class_block = 5;  // at most
constexpr int cache_line = 64;

// Of the rows that come next a place is fetched with every so many vectors forward, and with every so many rows
// backward: a line, or four vectors where it holds more.
template <class T, class X>
constexpr int place_vectors = std::min(cache_line / (lanes<T> * static_cast<int>(sizeof(X))), 4);
template <class T, class X>
constexpr int place_bytes = place_vectors<T, X> * lanes<T> * static_cast<int>(sizeof(X));

constexpr int chain_vectors = 512;  // of features in one unbroken sum

// Vectors of features taken at a time, so that their weights of all classes fill half of a first-level cache. Where one
// pass takes all classes, nothing is used twice.
inline int64_t block_vectors(int64_t outputs) {
  constexpr int64_t bytes = 16 << 10, least = 12;
  return outputs <= class_block ? chain_vectors
                                : std::clamp<int64_t>(bytes / (outputs * vector_bytes), least, chain_vectors);
}

// One vector of features from column k of the padded rows on; at the edges the missing lanes are zero.
template <class T, class X, bool Whole>
SOFTSTEP_INLINE Vec<T> features(const X* row, int64_t k, int64_t lead, const LinearShape<T>& shape) {
  row += k - lead;
  if constexpr (Whole) {
    return load_as<T>(row);
  } else {
    const int64_t from = lead - k, to = from + shape.features;
    return load_as_range<T>(row, static_cast<int>(std::max<int64_t>(from, 0)),
                            static_cast<int>(std::min<int64_t>(to, lanes<T>)));
  }
}

// The order in which the rows of the next tile are fetched: eight rows side by side, the same line of each in turn. The
// hardware's own prefetcher follows a row once it has seen two of its lines; with the lines of others in between it has
// the time to be first, and what is fetched here is then no further than the second-level cache. Row after row, each
// line waits for memory in one of the dozen buffers that the loads of the product need as well.
template <int Step>
class Ahead {
 public:
  static constexpr int64_t most = 512;  // places taken at once

  // Every Step bytes of a row are a place, and its last byte is one.
  Ahead(TileRows& x, int64_t row_bytes) : x_(x), row_bytes_(row_bytes), each_((row_bytes - 1) / Step + 2) {
    if (!x.next) x.fetched = all();
    x.fetched -= x.fetched % together;
  }

  int64_t left() const { return all() - x_.fetched; }

  // The next `count` places; after the last of them, one that is in the cache already: cheaper than a branch.
  const char* const* take(int64_t count) {
    if (end_ - at_ < count) refill(count);
    const char* const* places = places_ + at_;
    const int64_t taken = std::min(count, left());
    if (taken > 0) at_ += count;
    x_.fetched += taken;
    return places;
  }

 private:
  static constexpr int64_t together = 8;
  int64_t all() const { return each_ * tile_rows; }

  void refill(int64_t count) {
    std::copy(places_ + at_, places_ + end_, places_);
    end_ -= at_;
    at_ = 0;
    for (int64_t place = x_.fetched + end_; end_ < count;) {
      if (place >= all()) {
        std::fill(places_ + end_, places_ + count, static_cast<const char*>(x_.rows[0]));
        end_ = count;
        return;
      }
      const int64_t row = place / (each_ * together) * together, line = place % (each_ * together) / together;
      const int64_t some = std::min(each_ - line, most / together);
      const char* rows[together];
      for (int64_t r = 0; r < together; ++r) rows[r] = static_cast<const char*>(x_.next[row + r]);
      const char** to = places_ + end_;
      for (int64_t i = line; i < line + some; ++i, to += together) {
        const int64_t offset = std::min(i * Step, row_bytes_ - 1);
        for (int64_t r = 0; r < together; ++r) to[r] = rows[r] + offset;
      }
      end_ += some * together;
      place += some * together;
    }
  }

  TileRows& x_;
  int64_t row_bytes_, each_, at_ = 0, end_ = 0;
  const char* places_[2 * most];
};

template <class T, class X>
using RowsAhead = Ahead<place_bytes<T, X>>;

// The products of row_block rows and NC classes over features begin .. end, not yet added across lanes: sums[c * lanes
// + r], which are added to unless `first`. `weight` is that of the first class.
template <class T, class X, int NC>
SOFTSTEP_INLINE void forward_block(Vec<T>* sums, const X* const* rows, const T* weight, const LinearShape<T>& shape,
                                   int64_t begin, int64_t end, bool first, const char* const* next) {
  constexpr int L = lanes<T>, R = row_block<T, NC>;
  const int64_t lead = shape.lead, between = shape.outputs * L;
  const X* at[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) at[r] = rows[r];
  weight += begin / L * between;
  Vec<T> acc[NC][R];
#pragma GCC unroll 5
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[c][r] = first ? Vec<T>{} : sums[c * L + r];
  const auto multiply_add = [&]<bool Whole>(std::bool_constant<Whole>, int64_t k) {
    Vec<T> x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) x[r] = features<T, X, Whole>(at[r], k, lead, shape);
#pragma GCC unroll 5
    for (int c = 0; c < NC; ++c) {
      const Vec<T> w = load(weight + c * L);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[c][r] = fma<T>(w, x[r], acc[c][r]);
    }
    weight += between;
  };
  const int64_t whole = begin + (end - begin) / L * L;
  int64_t k = begin;
  if (k < lead) multiply_add(std::false_type{}, k), k += L;
  constexpr int some = std::max(place_vectors<T, X>, 2);
  for (; k + some * L <= whole; k += some * L)
#pragma GCC unroll 4
    for (int v = 0; v < some; ++v) {
      if (v % place_vectors<T, X> == 0) prefetch(*next++);
      multiply_add(std::true_type{}, k + v * L);
    }
  for (; k < whole; k += L) multiply_add(std::true_type{}, k);
  if (k < end) multiply_add(std::false_type{}, k);
#pragma GCC unroll 5
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[c * L + r] = acc[c][r];
}

// visit(how many, first) for blocks of classes, of Most and of one less, the number known at compile time.
template <int Most, class Visit>
SOFTSTEP_INLINE void for_class_blocks(int64_t outputs, Visit visit) {
  const int64_t whole = outputs - (Most - 1) * blocks_of(outputs, class_block);  // blocks of Most
  for (int64_t first = 0; first < whole * Most; first += Most) visit(std::integral_constant<int, Most>{}, first);
  if constexpr (Most > 3)  // up to 3 outputs are one block, and 6 are two of 3
    for (int64_t first = whole * Most; first < outputs; first += Most - 1)
      visit(std::integral_constant<int, Most - 1>{}, first);
}

// The sums of up to `lanes` rows and all classes over the vectors of features begin .. end: sums[c * lanes + r].
template <class T, class X, int Most>
void forward_chain(Vec<T>* sums, const X* const* rows, int count, RowsAhead<T, X>& ahead, const T* weight,
                   const LinearShape<T>& shape, int64_t begin, int64_t end) {
  constexpr int L = lanes<T>, R = row_block<T, Most>;
  const int64_t passes = blocks_of(shape.outputs, class_block);
  const int64_t blocks = std::max<int64_t>(blocks_of(end - begin, block_vectors(shape.outputs)), 1);
  if (count <= L - R) std::fill(sums, sums + shape.outputs * L, Vec<T>{});
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t from = L * (begin + (end - begin) * block / blocks);
    const int64_t to = std::min(L * (begin + (end - begin) * (block + 1) / blocks), shape.lead + shape.features);
    const int64_t places = (to - from) / L / place_vectors<T, X>;
    for (int r = 0; r < count; r += R) {
      const char* const* next = ahead.take(passes * places);
      for_class_blocks<Most>(shape.outputs, [&]<int NC>(std::integral_constant<int, NC>, int64_t first) {
        forward_block<T, X, NC>(sums + first * L + r, rows + r, weight + first * L, shape, from, to, block == 0, next);
        next += places;
      });
    }
  }
}

template <class T, class X, int Most>
void forward(T* logits, TileRows& x, const T* weight, const T* bias, const LinearShape<T>& shape) {
  constexpr int L = lanes<T>;
  const X* const* rows = reinterpret_cast<const X* const*>(x.rows);
  const int64_t vectors = shape.stride / L;
  RowsAhead<T, X> ahead(x, shape.features * static_cast<int64_t>(sizeof(X)));
  alignas(64) Vec<T> sums[narrow_outputs * L];
  for (int group = 0; group < x.count; group += L)
    for (int64_t begin = 0; begin == 0 || begin < vectors; begin += chain_vectors) {
      const int64_t end = std::min<int64_t>(begin + chain_vectors, vectors);
      forward_chain<T, X, Most>(sums, rows + group, std::min(x.count - group, L), ahead, weight, shape, begin, end);
      for (int64_t c = 0; c < shape.outputs; ++c) {
        T* place = logits + tile_place<T>(group, c, shape.outputs);
        const Vec<T> before = begin ? load(place) : broadcast<T>(bias ? bias[c] : T(0));
        store(place, before + row_sums<T>(sums + c * L));
      }
    }
}

// NC classes times V vectors of features, at k and every `apart` columns beyond, over the rows of the tile. `dweight`
// is that of the first class.
template <class T, class X, bool Whole, int NC, int V>
SOFTSTEP_INLINE void backward_block(T* dweight, const TileRows& x, const T* dlogits, int64_t k, int64_t apart,
                                    const LinearShape<T>& shape, bool first, const char* const* ahead, int64_t places) {
  constexpr int L = lanes<T>;
  const X* const* rows = reinterpret_cast<const X* const*>(x.rows);
  const int64_t lead = shape.lead, between = shape.outputs * L, step = apart / L * between;
  dweight += k / L * between;
  Vec<T> acc[NC][V] = {};
  const auto add_row = [&](const X* row, const T* gradients) {
    Vec<T> xv[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) xv[v] = features<T, X, Whole>(row, k + v * apart, lead, shape);
#pragma GCC unroll 5
    for (int c = 0; c < NC; ++c) {
      const Vec<T> g = broadcast<T>(gradients[c * L]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[c][v] = fma<T>(g, xv[v], acc[c][v]);
    }
  };
  constexpr int every = place_vectors<T, X>, together = std::max(every, 2);
  for (int64_t i = places - x.count / every; i > 0; --i) prefetch(*ahead++);  // more than rows can fetch
  for (int group = 0; group < x.count; group += L, dlogits += between) {
    const int end = x.count - group < L ? x.count - group : L;
    int r = 0;
    for (; r + together <= end; r += together)
#pragma GCC unroll 4
      for (int i = 0; i < together; ++i) {
        if (i % every == 0) prefetch(*ahead++);
        add_row(rows[group + r + i], dlogits + r + i);
      }
    for (; r < end; ++r) add_row(rows[group + r], dlogits + r);
  }
#pragma GCC unroll 5
  for (int c = 0; c < NC; ++c)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const int64_t place = v * step + c * L;
      store(dweight + place, first ? acc[c][v] : load(dweight + place) + acc[c][v]);
    }
}

template <class T, class X, int Most>
void backward(T* dweight, T* dbias, TileRows& x, const T* dlogits, const LinearShape<T>& shape, bool first) {
  const int64_t outputs = shape.outputs;
  const int64_t edges = shape.lead ? 1 : 0, inner = std::max<int64_t>(shape.stride / lanes<T> - 2 * edges, 0);
  // Most times this many vectors of sums fill the registers, as in forward
  constexpr std::integral_constant<int, row_block<T, Most>> several;
  constexpr std::integral_constant<int, 1> one;
  const int64_t passes = blocks_of(outputs, class_block);
  RowsAhead<T, X> ahead(x, shape.features * static_cast<int64_t>(sizeof(X)));
  const int64_t calls = passes * (inner / several + inner % several + edges);
  const int64_t places = std::clamp<int64_t>(blocks_of(ahead.left(), std::max<int64_t>(calls, 1)),
                                             x.count / place_vectors<T, X>, RowsAhead<T, X>::most);
  // Features outermost: while they are in the first-level cache, all classes use them.
  const auto classes = [&]<bool Whole, int V>(std::bool_constant<Whole>, std::integral_constant<int, V>, int64_t k,
                                              int64_t apart = lanes<T>) {
    for_class_blocks<Most>(outputs, [&]<int NC>(std::integral_constant<int, NC>, int64_t c) {
      backward_block<T, X, Whole, NC, V>(dweight + c * lanes<T>, x, dlogits + c * lanes<T>, k, apart, shape, first,
                                         ahead.take(places), places);
    });
  };
  const int64_t columns = shape.lead + shape.features, whole = columns / lanes<T> * lanes<T>;
  int64_t k = shape.lead ? lanes<T> : 0;
  for (; k + several * lanes<T> <= whole; k += several * lanes<T>) classes(std::true_type{}, several, k);
  for (; k < whole; k += lanes<T>) classes(std::true_type{}, one, k);
  // Both edges together: the sums of one vector are too few to wait for each other.
  if (shape.lead && k < columns) classes(std::false_type{}, std::integral_constant<int, 2>{}, 0, k);
  else if (shape.lead) classes(std::false_type{}, one, 0);
  else if (k < columns) classes(std::false_type{}, one, k);
  for (int64_t o = 0; o < outputs; ++o) {
    Vec<T> sum{};
    for (int r = 0; r < x.count; r += lanes<T>)
      sum += load_partial(dlogits + tile_place<T>(r, o, outputs), std::min(lanes<T>, x.count - r));
    dbias[o] = sum_lanes<T>(sum) + (first ? T(0) : dbias[o]);
  }
}

}  // namespace

template <class T>
bool read_directly(const Features<T>& x) {
  return !x.scale && (x.type == Feature::uint8 || x.type == feature_of<T>());
}

template <class T>
LinearTiles<T> linear_tiles(const Features<T>& x, int64_t outputs) {
  const bool bytes = read_directly(x) && x.type == Feature::uint8;
  const auto tiles = [&]<int Most>(std::integral_constant<int, Most>) -> LinearTiles<T> {
    if (bytes) return {forward<T, std::uint8_t, Most>, backward<T, std::uint8_t, Most>};
    return {forward<T, T, Most>, backward<T, T, Most>};
  };
  switch (blocks_of(outputs, blocks_of(outputs, class_block))) {  // blocks as equal as can be
    case 1:
      return tiles(std::integral_constant<int, 1>{});
    case 2:
      return tiles(std::integral_constant<int, 2>{});
    case 3:
      return tiles(std::integral_constant<int, 3>{});
    case 4:
      return tiles(std::integral_constant<int, 4>{});
    default:
      return tiles(std::integral_constant<int, class_block>{});
  }
}

template <class T>
LinearShape<T> linear_shape(const Features<T>& x, int64_t outputs) {
  int64_t lead = 0;
  if (read_directly(x)) {
    const int64_t item = size_of(x.type), line = std::min<int64_t>(cache_line, lanes<T> * item);
    const auto offset =
        static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(x.data) % static_cast<std::uintptr_t>(line));
    const bool all_rows = x.row_bytes % line == 0 && offset % item == 0;
    const bool one_chain = x.columns + lanes<T> <= chain_vectors * lanes<T>;  // more would be cut elsewhere
    if (all_rows && one_chain) lead = offset / item;
  }
  return {x.columns, outputs, lead, padded<T>(lead + x.columns)};
}

template <class T>
void TileSource<T>::point(const void** rows, int64_t position, int64_t count, T* scratch) const {
  if (direct_) {
    for (int64_t r = 0; r < tile_rows; ++r) rows[r] = x_.at(position + (r < count ? r : 0));
    return;
  }
  copy_rows(scratch, as_rows(x_), position, count, 0, x_.columns);
  for (int64_t r = 0; r < tile_rows; ++r) rows[r] = scratch + (r < count ? r : 0) * copied_stride<T>(x_.columns);
}

template struct LinearTiles<float>;
template struct LinearTiles<double>;
template class TileSource<float>;
template class TileSource<double>;
template bool read_directly(const Features<float>&);
template bool read_directly(const Features<double>&);
template LinearShape<float> linear_shape(const Features<float>&, int64_t);
template LinearShape<double> linear_shape(const Features<double>&, int64_t);
template LinearTiles<float> linear_tiles(const Features<float>&, int64_t);
template LinearTiles<double> linear_tiles(const Features<double>&, int64_t);

}  // namespace softstep
