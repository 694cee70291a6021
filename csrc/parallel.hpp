// Tiles over threads: how every kernel runs in parallel.
//
// A kernel cuts its work into tiles by shape alone and says how much work there is; for_tiles gives each thread one
// contiguous run of tiles, and whoever is through with its own takes from the others'. Results cannot depend on who did
// what as long as a tile writes its own outputs only and partial results are combined afterwards in the order of the
// tiles.
//
// The calling thread takes part as thread 0. Every tenth of a second it asks the poll function whether to stop
// (Ctrl-C); the others look at a flag before each tile, so a tile should take well under a tenth of a second.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>
#include <limits>
#include <new>
#include <span>
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

// Threads of one team should not share a processor while another is idle, but after a pause Linux wakes a worker on the
// processor of the thread that wakes it, and does not soon part them: a call of two milliseconds took six. So a worker
// that finds itself on its caller's processor moves, and a caller lets a worker that waits behind it have its turn.
int current_processor();
void leave_processor(int processor);
void let_others_run();
void nap(int microseconds);

// OpenMP ends the process if it cannot start a thread. So whoever asks for more threads than ever before starts as many
// itself and lets them end: if that fails, it works alone.
int startable(int threads);

// body(thread, threads) on the calling thread, which is 0, and on its workers, which may be fewer than asked for.
template <class Body>
void on_threads(int threads, Body body) {
#if defined(_OPENMP)
  threads = startable(threads);
  if (threads > 1) {
    const int caller = current_processor();
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num();
      if (thread == 0) let_others_run();
      else leave_processor(caller);
      body(thread, omp_get_num_threads());
    }
    return;
  }
#endif
  body(0, 1);
}

// The tiles that are left of each thread's run. A thread takes its own from the front; when it has none, from the back
// of the longest of the others', since threads are not equally fast: one may have a small core, or share its core with
// another process.
class TileRuns {
 public:
  TileRuns(int64_t tiles, int64_t threads) : runs_(static_cast<std::size_t>(threads)) {
    for (int64_t t = 0; t < threads; ++t)
      runs_[static_cast<std::size_t>(t)].left =
          Left{static_cast<std::uint32_t>(tiles * t / threads), static_cast<std::uint32_t>(tiles * (t + 1) / threads)};
  }

  static constexpr int64_t most = std::numeric_limits<std::uint32_t>::max();

  // The next tile for this thread, or -1.
  int64_t take(std::size_t thread) {
    std::atomic<Left>& own = runs_[thread].left;
    for (Left left = own.load(); left.begin < left.end;)
      if (own.compare_exchange_weak(left, {left.begin + 1, left.end})) return left.begin;
    for (;;) {
      Run* longest = nullptr;
      Left most_left{};
      for (Run& run : runs_)
        if (const Left left = run.left.load(); left.end - left.begin > most_left.end - most_left.begin)
          longest = &run, most_left = left;
      if (!longest) return -1;
      if (longest->left.compare_exchange_strong(most_left, {most_left.begin, most_left.end - 1}))
        return most_left.end - 1;
    }
  }

 private:
  struct Left {
    std::uint32_t begin, end;
  };
  struct alignas(64) Run {
    std::atomic<Left> left;
  };
  std::vector<Run> runs_;
};

// body(tile, thread), or body(tile, thread, interrupt) if it looks at the flag itself, for every tile, and done(thread)
// on each thread when it has no more; they must not throw. Throws Interrupted, unless the work must not stop half-way.
template <bool Interruptible = true, class Body, class Done = void (*)(int)>
void for_tiles(int64_t tiles, const Team& team, Body body, Done done = [](int) {}) {
  Interrupt interrupt;
  const auto run = [&](int64_t tile, int thread) {
    if (Interruptible && interrupt.check(thread)) return false;
    if constexpr (std::is_invocable_v<Body, int64_t, int, Interrupt&>) body(tile, thread, interrupt);
    else body(tile, thread);
    return true;
  };
  const int64_t threads = tiles > TileRuns::most ? 1 : std::min<int64_t>(team.threads(), tiles);
  if (threads > 1) {
    TileRuns runs(tiles, threads);
    on_threads(static_cast<int>(threads), [&](int thread, int) {
      for (int64_t tile; (tile = runs.take(static_cast<std::size_t>(thread))) >= 0;)
        if (!run(tile, thread)) break;
      done(thread);
    });
  } else {
    for (int64_t tile = 0; tile < tiles && run(tile, 0);) ++tile;
    done(0);
  }
  if (interrupt.stopped()) throw Interrupted{};
}

// All threads of a team meet. Who waits spins for some hundred microseconds and then naps: where another process holds
// one of our processors, a thread that sleeps gives its own to the one it waits for. Nobody is woken by another thread,
// since that would bring the two to one processor. (OpenMP's barrier spins for milliseconds, and a run of minibatches
// meets thousands of times.)
class Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_release);
      return;
    }
    for (int spins = 0; spins < 8000; ++spins) {
      if (round_.load(std::memory_order_acquire) != round) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    for (int time = 50; round_.load(std::memory_order_acquire) == round; time = time < 1000 ? time + 50 : time)
      nap(time);
  }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// The sum of the values as a fixed binary tree, whoever computed them.
inline double tree_sum(std::span<const double> values) {
  if (values.size() < 2) return values.empty() ? 0.0 : values[0];
  const std::size_t half = std::bit_floor(values.size() - 1);
  return tree_sum(values.first(half)) + tree_sum(values.subspan(half));
}

// Scratch memory aligned to a cache line, not initialised. Throws std::bad_alloc.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t count) : data_(static_cast<T*>(::operator new(bytes(count), std::align_val_t{64}))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t{64}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }
  template <class Index>
  T& operator[](Index i) const {
    return data_[i];
  }

 private:
  static std::size_t bytes(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T)) throw std::bad_alloc();
    return (count ? count : 1) * sizeof(T);
  }

  T* data_;
};

}  // namespace softstep
