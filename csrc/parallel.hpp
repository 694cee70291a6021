// Tiles over threads: how every kernel runs in parallel.
//
// A kernel cuts its work into tiles by shape alone and says how much work there is; for_tiles gives each thread one
// contiguous run of tiles. Results cannot depend on the number of threads as long as a tile writes its own outputs only
// and partial results are combined afterwards in the order of the tiles.
//
// The calling thread takes part as thread 0. Every tenth of a second it asks the poll function whether to stop
// (Ctrl-C); the others look at a flag before each tile, so a tile should take well under a tenth of a second.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <new>
#include <type_traits>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace softstep {

using std::int64_t;

// Thrown on the calling thread, after every thread has stopped, when the poll function asked for it.
struct Interrupted {};

// How many threads a call gets: `requested` if positive; else as many as OpenMP, SOFTSTEP_NUM_THREADS, the affinity
// mask and the cgroup's CPU quota allow, divided among the calls in progress. One in a forked child, inside another
// parallel region, and for work (in nanoseconds of one thread, roughly) that is not worth waking others for.
class Team {
 public:
  Team(int requested, double nanoseconds);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }

 private:
  int threads_ = 1;
  bool counted_ = false;
};

// What `requested` gives for large work, for `softstep info`.
int default_threads();
bool has_openmp();

// Set by the bindings: true means stop. Called on the calling thread only.
using Poll = bool (*)();
void set_poll(Poll poll);
bool poll_now();

// When this thread last asked, or its call began. It is the call's and not the Interrupt's: a call may be thousands of
// parallel regions, each of them too short for its own clock to come round.
std::chrono::steady_clock::time_point& asked_at();
inline void begin_call() { asked_at() = std::chrono::steady_clock::now(); }

// The interrupt flag of one parallel region.
class Interrupt {
 public:
  // Called by thread 0 between tiles or steps; cheap. True once the call is to end.
  bool check() {
    const auto now = std::chrono::steady_clock::now();
    if (auto& last = asked_at(); now - last > std::chrono::milliseconds(100)) {
      last = now;
      if (poll_now()) stopped_.store(true, std::memory_order_relaxed);
    }
    return stopped();
  }
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

  // For any thread, inside a tile that may take long: is it to give up?
  bool check(int thread) { return thread == 0 ? check() : stopped(); }

 private:
  std::atomic<bool> stopped_{false};
};

// body(tile, thread), or body(tile, thread, interrupt) if it looks at the flag itself, for every tile; it must not
// throw. Throws Interrupted, unless the work must not stop half-way.
template <bool Interruptible = true, class Body>
void for_tiles(int64_t tiles, const Team& team, Body body) {
  Interrupt interrupt;
  const int64_t threads = team.threads() < tiles ? team.threads() : tiles;
  const auto run = [&](int64_t thread) {
    const int64_t end = tiles * (thread + 1) / threads;
    for (int64_t tile = tiles * thread / threads; tile < end; ++tile) {
      if (Interruptible && interrupt.check(static_cast<int>(thread))) return;
      if constexpr (std::is_invocable_v<Body, int64_t, int, Interrupt&>)
        body(tile, static_cast<int>(thread), interrupt);
      else body(tile, static_cast<int>(thread));
    }
  };
  if (threads > 1) {
#if defined(_OPENMP)
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
      // OpenMP may give fewer threads than asked for; the runs of tiles are then dealt round.
      const int64_t given = omp_get_num_threads();
      for (int64_t thread = omp_get_thread_num(); thread < threads; thread += given) run(thread);
    }
#endif
  } else if (threads == 1) {
    run(0);
  }
  if (interrupt.stopped()) throw Interrupted{};
}

// All threads of a team meet. It spins for some tens of microseconds and then sleeps: where another process holds one
// of our processors, a thread that sleeps gives its own to the one it waits for. (OpenMP's barrier spins for
// milliseconds, and a run of minibatches meets thousands of times.)
class Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    for (int spins = 0; spins < 1000; ++spins) {
      if (round_.load(std::memory_order_acquire) != round) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    round_.wait(round, std::memory_order_acquire);
  }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// The sum of the values as a fixed binary tree, whoever computed them.
inline double tree_sum(std::vector<double>& values) {
  const std::size_t n = values.size();
  for (std::size_t step = 1; step < n; step *= 2)
    for (std::size_t i = 0; i + step < n; i += 2 * step) values[i] += values[i + step];
  return n ? values[0] : 0.0;
}

// Scratch memory aligned to a cache line, not initialised. Throws std::bad_alloc.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t count)
      : data_(static_cast<T*>(::operator new((count ? count : 1) * sizeof(T), std::align_val_t{64}))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t{64}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }
  template <class Index>
  T& operator[](Index i) const {
    return data_[i];
  }

 private:
  T* data_;
};

}  // namespace softstep
