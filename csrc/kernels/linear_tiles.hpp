// The matrix product for few outputs, a tile of 32 rows at a time: what `linear` and the fused training step use up to
// narrow_outputs classes. BLAS packs both operands first, which here would cost more than the product.
//
//     forward    logits[r][c] = bias[c] + sum_k weight[c][k] x[r][k]          for the rows r of the tile
//     backward   dweight[c][k] += sum_r dlogits[r][c] x[r][k],   dbias[c] += sum_r dlogits[r][c]
//
// Rows come as pointers, in any order. Bytes, and numbers of the type computed in, are read where they lie; features of
// other types, or with a scale and shift, are converted a tile at a time (TileSource).
//
// Forward: `row_block` rows times up to 5 classes are summed in registers, the vectors along k. As many columns are
// taken at a time as keep their weights of all classes in half of the first-level cache; all classes use the rows while
// these are there, too. The lanes of 16 sums at a time are then added by transposition, which leaves the logits with
// rows in the lanes, ready for cross_entropy_lanes.
//
// Backward: the same number of vectors of features times up to 5 classes are summed in registers over the rows of the
// tile, the gradients broadcast.
//
// Both prefetch the rows of the tile that comes next, evenly: a line of numbers per 20 multiply-adds, of bytes per 80.
// What comes from memory and what comes from the second-level cache wait in the same dozen buffers of a core, so the
// fewer loads miss the first-level cache, the faster the rows come.
//
// Numerics: each logit is a sum over k in `lanes` interleaved chains of at most 512 terms and a tree over them; each
// gradient a chain over the rows of a tile, added to that of the tiles since `first`. The order depends on shapes
// alone.
#pragma once

#include <algorithm>

#include "kernels/features.hpp"
#include "kernels/matrix_tiles.hpp"
#include "parallel.hpp"

namespace softstep {

inline constexpr int tile_rows = 32;
inline constexpr int64_t narrow_outputs = 32;

// Gradients are summed per group of rows, 64 or as many more as keep it to 16 groups, and the groups as a binary tree.
struct RowGroups {
  int64_t height, count;
  explicit RowGroups(int64_t rows) {
    constexpr int64_t smallest = 64, most = 16;
    height = (rows + most - 1) / most;
    height = height <= smallest ? smallest : (height + smallest - 1) / smallest * smallest;
    count = (rows + height - 1) / height;
  }
};

// Columns of weights and gradients are padded to whole vectors; the padding of weights is zero. A vector of columns of
// all classes lies together, class after class (tile_place of the column): a block reads them at fixed distances.
template <class T>
constexpr int64_t padded(int64_t columns) {
  return (columns + lanes<T> - 1) / lanes<T> * lanes<T>;
}

// The columns start with `lead` of padding where the rows of features do not start on a cache line: vectors then fall
// on whole lines in both. (NumPy's large arrays start 16 bytes after one.) It changes no bits: the terms of a lane's
// chain move to another lane together, and the tree that adds the lanes up is the same from wherever it starts.
template <class T>
struct LinearShape {
  int64_t features, outputs;  // K, C
  int64_t lead, stride;       // stride = padded<T>(lead + K)
};

// The features of a tile, and of the next one. Both have tile_rows valid pointers: fewer rows repeat one of them.
// `next` may be null.
struct TileRows {
  const void* const* rows;
  const void* const* next;
  int count;
  int64_t fetched = 0;  // of the places of `next` that are to be (see Ahead)
};

// Where a tile keeps the logit (or its gradient) of row r and class c: rows in the lanes, `lanes` rows a block. The
// weight (or its gradient) of column r, counted with the lead, and class c stands at the same place of its array.
template <class T>
constexpr int64_t tile_place(int64_t r, int64_t c, int64_t outputs) {
  return (r / lanes<T> * outputs + c) * lanes<T> + r % lanes<T>;
}

template <class T>
struct LinearTiles {
  // logits at tile_place(r, c), weight at tile_place(k, c); bias (C,) or null
  void (*forward)(T* logits, TileRows& x, const T* weight, const T* bias, const LinearShape<T>& shape);
  // dweight at tile_place(k, c) and dbias (C,) are added to, or written if `first`
  void (*backward)(T* dweight, T* dbias, TileRows& x, const T* dlogits, const LinearShape<T>& shape, bool first);
};

// Are the rows multiplied as they lie?
template <class T>
bool read_directly(const Features<T>& x);

template <class T>
LinearTiles<T> linear_tiles(const Features<T>& x, int64_t outputs);

template <class T>
LinearShape<T> linear_shape(const Features<T>& x, int64_t outputs);

// Rows of features as the tiles want them.
template <class T>
class TileSource {
 public:
  explicit TileSource(const Features<T>& x) : x_(x), direct_(read_directly(x)) {}

  // Elements of scratch that a tile needs.
  int64_t scratch() const { return direct_ ? 0 : tile_rows * copied_stride<T>(x_.columns); }
  // Pointers to `count` rows from `position` on, valid as long as the scratch; the places beyond repeat the first.
  void point(const void** rows, int64_t position, int64_t count, T* scratch) const;

 private:
  Features<T> x_;
  bool direct_;
};

// (outputs, features) to the order of the tiles, the padding zero; and back. With `row` = 0 every class gets the same.
template <class T>
void pack_weight(T* out, const T* in, const LinearShape<T>& shape, int64_t row) {
  constexpr int L = lanes<T>;
  for (int64_t c = 0; c < shape.outputs; ++c)
    for (int64_t k = -shape.lead; k < shape.features; k += L) {
      const int from = static_cast<int>(k < 0 ? -k : 0);
      const int to = static_cast<int>(shape.features - k < L ? shape.features - k : L);
      const T* const part = in + c * row + k;
      store(out + tile_place<T>(shape.lead + k, c, shape.outputs),
            from == 0 && to == L ? load(part) : load_range<T>(part, from, to));
    }
}

template <class T>
void unpack_weight(T* out, const T* in, const LinearShape<T>& shape) {
  constexpr int L = lanes<T>;
  for (int64_t c = 0; c < shape.outputs; ++c)
    for (int64_t k = -shape.lead; k < shape.features; k += L) {
      const int64_t from = k < 0 ? -k : 0, to = shape.features - k < L ? shape.features - k : L;
      T* const part = out + c * shape.features + k;
      const T* const vector = in + tile_place<T>(shape.lead + k, c, shape.outputs);
      if (from == 0 && to == L) store(part, load(vector));
      else std::copy(vector + from, vector + to, part + from);
    }
}

}  // namespace softstep
