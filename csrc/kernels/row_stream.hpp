// Rows of a result that is larger than the caches, written past them while the next row is computed.
//
// Such a result is read before it is written unless its stores go past the caches, which is a third of softmax's
// traffic; and a core that first computes a row and then writes it leaves the memory idle most of the time. So the
// terms of a row (softmax's exponentials) stay in scratch, in the second-level cache, and go out, made into results,
// four vectors at a time between the terms of the row after it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel.hpp"
#include "simd/vec.hpp"

namespace softstep {

// What makes exponentials into softmax, or into its gradient.
template <class T>
struct Times {
  T factor;

  SOFTSTEP_INLINE Vec<T> operator()(Vec<T> term) const { return term * factor; }
};

// One thread's rows. value(v) makes terms into results.
template <class T, class Value>
class RowStream {
 public:
  RowStream(T* scratch, int64_t size) : free_(scratch), other_(scratch + size) {}

  // Where the row in hand may keep its terms.
  T* terms() const { return free_; }

  // A little more of the row before.
  SOFTSTEP_INLINE void step() {
    if (end_ - at_ < 4 * L) return;
    repeat<4>(4, [&](int u) SOFTSTEP_INLINE_LAMBDA { stream(at_ + u * L); });
    at_ += 4 * L;
  }

  // The row in hand is to become out[i] = value(terms[i]); `terms` must stay as they are until the next put().
  void put(T* out, const T* terms, int64_t size, Value value) {
    finish();
    out_ = out, terms_ = terms, end_ = size, value_ = value;
    const auto off = static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(out) % vector_bytes / sizeof(T));
    at_ = std::min(off ? L - off : 0, size);  // such stores need whole vectors
    if (at_) store_some(0, static_cast<int>(at_));
    prefetch_to_write(out + size - 1);  // the last line, of which another row may have a part
    std::swap(free_, other_);
  }

  void finish() {
    for (; at_ + L <= end_; at_ += L) stream(at_);
    if (at_ < end_) store_some(at_, static_cast<int>(end_ - at_));
    at_ = end_ = 0;
  }

 private:
  static constexpr int64_t L = lanes<T>;

  SOFTSTEP_INLINE void stream(int64_t i) const { store_streaming<T>(out_ + i, value_(load(terms_ + i))); }
  void store_some(int64_t i, int count) const {
    store_partial(out_ + i, value_(load_partial(terms_ + i, count)), count);
  }

  T* free_;
  T* other_;
  T* out_ = nullptr;
  const T* terms_ = nullptr;
  int64_t at_ = 0, end_ = 0;
  Value value_{};
};

// The streams of a team's threads, for `rows` rows of n: none unless the result is larger than the caches, and two rows
// of terms beside two of logits are not.
template <class T, class Value>
class RowStreams {
 public:
  RowStreams(int64_t rows, int64_t n, int threads)
      : size_(is_large(rows, n) ? (n + lanes<T> - 1) / lanes<T> * lanes<T> : 0),
        scratch_(static_cast<std::size_t>(threads * 2 * size_)) {
    for (int t = 0; size_ > 0 && t < threads; ++t)
      streams_.push_back({RowStream<T, Value>(scratch_.data() + t * 2 * size_, size_)});
  }

  RowStream<T, Value>* of(int thread) {
    return streams_.empty() ? nullptr : &streams_[static_cast<std::size_t>(thread)].stream;
  }

  // To be called by each thread when it has no more rows.
  void finish(int thread) {
    if (!of(thread)) return;
    of(thread)->finish();
    stream_fence();
  }

 private:
  struct alignas(64) Own {
    RowStream<T, Value> stream;
  };

  static bool is_large(int64_t rows, int64_t n) {
    constexpr int64_t most_of_a_row = int64_t{256} << 10;
    const int64_t bytes = n * static_cast<int64_t>(sizeof(T));
    return bytes <= most_of_a_row && rows * bytes >= larger_than_caches;
  }

  int64_t size_;
  const Scratch<T> scratch_;
  std::vector<Own> streams_;
};

// What goes on while a row is computed, four vectors at a time: `next`, the elements that will be read next (or null),
// is fetched, and the row before goes out of `before` (or null).
template <class T, class Stream>
struct Meanwhile {
  const T* next;
  Stream* before;

  SOFTSTEP_INLINE void operator()(int64_t i) const {
    if (next) prefetch_vectors<4>(next + i);
    if (before) before->step();
  }
};

}  // namespace softstep
