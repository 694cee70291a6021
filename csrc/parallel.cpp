#include "parallel.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#include <pthread.h>

namespace softstep {

namespace {

std::atomic<int> calls_in_progress{0};
std::atomic<bool> forked{false};
std::atomic<Poll> current_poll{nullptr};

// A child of fork has the memory of OpenMP's workers but not the workers; waking them would wait for ever.
struct ForkHandler {
  ForkHandler() {
    pthread_atfork(nullptr, nullptr, [] {
      forked.store(true);
      calls_in_progress.store(0);
    });
  }
} fork_handler;

// CPUs' worth of time that the cgroup allows, or a large number. Version 2 keeps "quota period" in cpu.max, version 1
// has two files; the limits of the groups above count as well, so every level of the path is read.
double read_quota() {
  double quota = 1e9;
  char line[4096], path[8192];
  std::FILE* groups = std::fopen("/proc/self/cgroup", "r");
  if (!groups) return quota;
  const auto consider = [&](const char* folder, std::size_t length, bool version2) {
    double limit = -1, period = 0;
    const int width = static_cast<int>(length);
    if (version2) {
      std::snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cpu.max", width, folder);
      if (std::FILE* f = std::fopen(path, "r")) {
        if (std::fscanf(f, "%lf %lf", &limit, &period) != 2) limit = -1;
        std::fclose(f);
      }
    } else {
      std::snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%.*s/cpu.cfs_quota_us", width, folder);
      if (std::FILE* f = std::fopen(path, "r")) {
        if (std::fscanf(f, "%lf", &limit) != 1) limit = -1;
        std::fclose(f);
      }
      std::snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%.*s/cpu.cfs_period_us", width, folder);
      if (std::FILE* f = std::fopen(path, "r")) {
        if (std::fscanf(f, "%lf", &period) != 1) period = 0;
        std::fclose(f);
      }
    }
    if (limit > 0 && period > 0) quota = std::min(quota, limit / period);
  };
  while (std::fgets(line, sizeof line, groups)) {
    line[std::strcspn(line, "\n")] = 0;
    char* controllers = std::strchr(line, ':');
    char* folder = controllers ? std::strchr(controllers + 1, ':') : nullptr;
    if (!folder) continue;
    *folder++ = 0;
    const bool version2 = controllers[1] == 0;
    if (!version2 && !std::strstr(controllers, "cpu")) continue;
    for (std::size_t length = std::strlen(folder); length > 0; --length)
      if (folder[length] == '/' || folder[length] == 0) consider(folder, length, version2);
    consider("", 0, version2);
  }
  std::fclose(groups);
  return quota;
}

// Reading the files takes tens of microseconds, so the answer is kept for a second.
double quota() {
  using clock = std::chrono::steady_clock;
  static std::atomic<clock::rep> read_at{0};
  static std::atomic<double> value{1e9};
  const auto now = clock::now().time_since_epoch();
  if (read_at.load() == 0 || now - clock::duration(read_at.load()) > std::chrono::seconds(1)) {
    value.store(read_quota());
    read_at.store(now.count());
  }
  return value.load();
}

int allowed_cpus() {
  if (const char* text = std::getenv("SOFTSTEP_NUM_THREADS")) {
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (end != text && *end == 0 && n > 0) return static_cast<int>(std::min(n, 1L << 16));
  }
  int cpus = 1 << 16;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::min<double>(cpus, std::ceil(quota()))));
}

}  // namespace

bool has_openmp() {
#if defined(_OPENMP)
  return true;
#else
  return false;
#endif
}

int default_threads() {
#if defined(_OPENMP)
  if (forked.load()) return 1;
  return std::max(1, std::min(omp_get_max_threads(), allowed_cpus()));
#else
  return 1;
#endif
}

Team::Team([[maybe_unused]] int requested, [[maybe_unused]] double nanoseconds) {
#if defined(_OPENMP)
  const double worth_waking = 5000;  // per thread; a barrier costs well under a microsecond, waking a sleeper several
  if (nanoseconds < 2 * worth_waking || requested == 1 || forked.load(std::memory_order_relaxed) || omp_in_parallel())
    return;
  const int others = calls_in_progress.fetch_add(1);
  counted_ = true;
  const int limit = requested > 0 ? requested : std::max(1, default_threads() / (others + 1));
  threads_ = static_cast<int>(std::min<double>(limit, nanoseconds / worth_waking));
#endif
}

Team::~Team() {
  if (counted_) calls_in_progress.fetch_sub(1);
}

int startable(int threads) {
  static thread_local int started = 1;
  if (threads <= started) return threads;
  std::vector<std::thread> workers;
  std::latch end(1);
  bool all = true;
  try {
    while (static_cast<int>(workers.size()) + 1 < threads) workers.emplace_back([&end] { end.wait(); });
  } catch (const std::exception&) {  // no memory for a stack, or no more threads
    all = false;
  }
  end.count_down();
  for (std::thread& worker : workers) worker.join();
  if (!all) return 1;
  return started = threads;
}

#if defined(__linux__)
int current_processor() { return sched_getcpu(); }

void leave_processor(int processor) {
  if (processor < 0 || sched_getcpu() != processor) return;
  cpu_set_t allowed, others;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  others = allowed;
  CPU_CLR(static_cast<std::size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}
void let_others_run() { sched_yield(); }
#else
int current_processor() { return -1; }
void leave_processor(int) {}
void let_others_run() {}
#endif

void nap(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

std::chrono::steady_clock::time_point& asked_at() {
  static thread_local std::chrono::steady_clock::time_point last;
  return last;
}

void set_poll(Poll poll) { current_poll.store(poll); }

bool poll_now() {
  const Poll poll = current_poll.load();
  return poll && poll();
}

}  // namespace softstep
