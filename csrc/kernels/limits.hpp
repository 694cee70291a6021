// What this machine can do at most: the yardsticks that `softstep bench` holds the kernels against. Nothing else uses
// them.
//
//   read_stream          sum x_i: every byte is read once, eight sums at a time so that no addition waits for another
//   copy_stream          out = x: every byte read once and written once; with `streaming`, past the caches
//   multiply_add_loop    chains of fused multiply-adds in registers, as many as hide the instruction's latency; without
//                        such an instruction (x86-64-v2) a multiplication and an addition
//
// Each thread has one contiguous part of the memory and goes over it `repeats` times, so that buffers that fit a cache
// are measured in that cache and the call itself does not count. Within a megabyte four places are worked on in turns:
// a processor fetches ahead for several streams at once, and one alone reaches 0.95 of four in reading, 0.8 in copying.
// The chains x <- x / 2 + 1 converge to 2: no operand is ever subnormal or infinite.
#pragma once

#include "parallel.hpp"

namespace softstep {

// Returns the sum of all repeats.
double read_stream(const float* x, int64_t size, int repeats, int threads);

void copy_stream(float* out, const float* x, int64_t size, bool streaming, int repeats, int threads);

struct MultiplyAdds {
  double sum;         // of what the chains end at: 2 each after enough steps
  double operations;  // floating-point operations that were done
};

// `steps` steps of every chain, on each thread.
MultiplyAdds multiply_add_loop(int64_t steps, int threads);

}  // namespace softstep
