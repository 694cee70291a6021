// out (rows, columns) = x[order] scale + shift: rows of features that lie anywhere, brought together and converted.
//
// Rows are copied in pieces while the next ones are fetched (for_row_pieces in features.hpp). Long rows of a result
// that is larger than the caches go past them, where a vector is a line: otherwise each line would be read before it is
// written, a third of the traffic.
//
// Numerics: a feature is converted to the type computed in, then multiplied, then added to, each rounded once (no fused
// multiply-add): to the bit what NumPy makes of it. Without scale and shift, or where nothing is converted, bits are
// copied.
#pragma once

#include "kernels/features.hpp"
#include "parallel.hpp"

namespace softstep {

// Here a scale may come without a shift.
template <class T>
void gather_rows(T* out, const Features<T>& x, int64_t rows, int threads);

// Rows of `row_bytes` bytes as they are, `stride` bytes apart; `order` may be null.
void gather_bytes(char* out, const char* data, int64_t stride, int64_t row_bytes, const int64_t* order, int64_t rows,
                  int threads);

}  // namespace softstep
