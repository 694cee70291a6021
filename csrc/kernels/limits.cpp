#include "kernels/limits.hpp"

#include <algorithm>
#include <cstdint>

#include "simd/vec.hpp"

namespace softstep {

namespace {

constexpr int64_t line = 64 / sizeof(float);
constexpr int64_t block = 1 << 18;  // elements between two looks at the interrupt flag: a megabyte
constexpr int streams = 4;
constexpr int64_t ahead = 256;  // elements that a copy past the caches fetches ahead

struct Parts {
  int64_t count, size, each;

  Parts(int64_t size, const Team& team) : count(team.threads()), size(size) {
    each = ((size + count - 1) / count + line - 1) / line * line;
  }
  int64_t begin(int64_t part) const { return std::min(part * each, size); }
  int64_t end(int64_t part) const { return std::min((part + 1) * each, size); }
};

// Repeating is the point: without this the compiler might read once and multiply.
SOFTSTEP_INLINE void forget_memory() { asm volatile("" ::: "memory"); }

double read_block(const float* x, int64_t size) {
  constexpr int64_t n = lanes<float>;
  const int64_t quarter = size / (streams * 2 * n) * 2 * n;
  Vec<float> sums[2 * streams] = {};
  for (int64_t i = 0; i < quarter; i += 2 * n)
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s) {
      const float* p = x + s * quarter + i;
      sums[2 * s] += load(p);
      sums[2 * s + 1] += load(p + n);
    }
  for (int64_t i = streams * quarter; i < size; i += n)
    sums[0] += load_partial(x + i, static_cast<int>(std::min(n, size - i)));
  for (int j = streams; j > 0; j /= 2)
    for (int k = 0; k < j; ++k) sums[k] += sums[k + j];
  return sum_lanes<float>(sums[0]);
}

template <bool Streaming>
void copy_block(float* out, const float* x, int64_t size) {
  constexpr int64_t n = lanes<float>;
  const int64_t off = static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(out) % vector_bytes / sizeof(float));
  const int64_t head = off ? std::min(n - off, size) : 0;  // streaming stores need whole vectors
  if (head) store_partial(out, load_partial(x, static_cast<int>(head)), static_cast<int>(head));
  const int64_t quarter = (size - head) / (streams * 2 * n) * 2 * n;
  for (int64_t i = 0; i < quarter; i += 2 * n)
#pragma GCC unroll 4
    for (int s = 0; s < streams; ++s)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const int64_t at = head + s * quarter + i + j * n;
        if constexpr (Streaming) {
          prefetch(x + at + ahead);
          store_streaming(out + at, load(x + at));
        } else {
          store(out + at, load(x + at));
        }
      }
  for (int64_t i = head + streams * quarter; i < size; i += n) {
    const int some = static_cast<int>(std::min(n, size - i));
    store_partial(out + i, load_partial(x + i, some), some);
  }
}

// body(begin, size) over a thread's part, block by block, again and again.
template <class Body>
void over_part(const Parts& parts, int64_t part, int repeats, int thread, Interrupt& interrupt, Body body) {
  const int64_t begin = parts.begin(part), end = parts.end(part);
  int64_t since = block;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (int64_t at = begin; at < end; at += block) {
      const int64_t some = std::min(block, end - at);
      if ((since += some) > block) {
        if (interrupt.check(thread)) return;
        since = 0;
      }
      body(at, some);
    }
    forget_memory();
  }
}

}  // namespace

double read_stream(const float* x, int64_t size, int repeats, int threads) {
  const Team team(threads, static_cast<double>(size) * repeats);
  const Parts parts(size, team);
  std::vector<double> sums(static_cast<std::size_t>(parts.count));
  for_tiles(parts.count, team, [&](int64_t part, int thread, Interrupt& interrupt) {
    double sum = 0;
    over_part(parts, part, repeats, thread, interrupt,
              [&](int64_t at, int64_t some) { sum += read_block(x + at, some); });
    sums[static_cast<std::size_t>(part)] = sum;
  });
  return tree_sum(sums);
}

void copy_stream(float* out, const float* x, int64_t size, bool streaming, int repeats, int threads) {
  const Team team(threads, static_cast<double>(size) * repeats);
  const Parts parts(size, team);
  for_tiles(parts.count, team, [&](int64_t part, int thread, Interrupt& interrupt) {
    over_part(parts, part, repeats, thread, interrupt, [&](int64_t at, int64_t some) {
      if (streaming) copy_block<true>(out + at, x + at, some);
      else copy_block<false>(out + at, x + at, some);
    });
    stream_fence();
  });
}

MultiplyAdds multiply_add_loop(int64_t steps, int threads) {
  // Two such instructions a cycle that take four cycles each: at least eight chains. They and the constants fill the
  // registers.
  constexpr int chains = vector_bytes == 64 ? 24 : 12;
  constexpr int64_t between_looks = 1 << 16;
  const Team team(threads, static_cast<double>(steps) * chains);
  std::vector<double> sums(static_cast<std::size_t>(team.threads()));
  for_tiles(team.threads(), team, [&](int64_t part, int thread, Interrupt& interrupt) {
    const Vec<float> a = broadcast<float>(0.5f), b = broadcast<float>(1.0f);
    Vec<float> chain[chains];
    for (int j = 0; j < chains; ++j) chain[j] = broadcast<float>(static_cast<float>(j));
    for (int64_t done = 0; done < steps; done += between_looks) {
      if (interrupt.check(thread)) return;
      const int64_t some = std::min(between_looks, steps - done);
      for (int64_t step = 0; step < some; ++step)
#pragma GCC unroll 24
        for (int j = 0; j < chains; ++j) chain[j] = fma<float>(a, chain[j], b);
    }
    Vec<float> sum{};
    for (int j = 0; j < chains; ++j) sum += chain[j];
    sums[static_cast<std::size_t>(part)] = sum_lanes<float>(sum);
  });
  const double operations = 2.0 * lanes<float> * chains * static_cast<double>(steps) * team.threads();
  return {tree_sum(sums), operations};
}

}  // namespace softstep
