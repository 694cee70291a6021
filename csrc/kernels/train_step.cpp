#include "kernels/train_step.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <limits>

#include "kernels/train_step_network.hpp"
#include "kernels/train_step_wide.hpp"

namespace softstep {

namespace {

double step_nanoseconds(int64_t rows, int64_t features, int64_t outputs) {
  return static_cast<double>(rows) * static_cast<double>(features) * (0.05 * static_cast<double>(outputs) + 0.2);
}

// On a machine that is shared, a thread whose processor is taken away keeps the others waiting, for milliseconds where
// a step takes microseconds. An account is kept of what the team wins against the first thread alone, and of what it
// loses by waiting; when it is overdrawn the first thread goes on alone for a while, and for twice as long each time
// that the team has won nothing since, in this run or the next one: the bytes are the same for any number of threads.
class Pace {
 public:
  static bool alone() { return now() < until_.load(std::memory_order_relaxed); }

  void begin() { begun_ = now(); }
  void arrive() { arrived_ = now(); }

  // After the first thread has computed its own groups of rows, of so many, and waited for the others: go on alone?
  bool too_slow(int64_t own, int64_t groups) {
    if (own == 0) return false;
    const int64_t time = now(), waited = time - arrived_;
    group_ = std::min(group_, (arrived_ - begun_) / own);  // what else a step takes happens to a thread alone as well
    const int64_t alone = group_ * groups * 3 / 4;         // by itself it shares no cache and tells nobody anything
    const int64_t balance = std::min(balance_.load(std::memory_order_relaxed) + alone - group_ * own - waited, most);
    int64_t pause = balance == most ? 0 : pause_.load(std::memory_order_relaxed);
    const bool overdrawn = balance < -least;
    if (overdrawn) {
      pause = std::min(std::max(2 * pause, -4 * balance), longest);
      until_.store(time + pause, std::memory_order_relaxed);
    }
    pause_.store(pause, std::memory_order_relaxed);
    balance_.store(overdrawn ? 0 : balance, std::memory_order_relaxed);
    return overdrawn;
  }

 private:
  static constexpr int64_t least = 500'000, most = 20'000'000, longest = 2'000'000'000;  // nanoseconds

  static int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  static inline std::atomic<int64_t> balance_{0}, until_{0}, pause_{0};
  int64_t begun_ = 0, arrived_ = 0, group_ = longest;  // the shortest time for a group of rows in this run
};

// How far the first thread has come alone. Who waits for it naps, and is woken by nobody (see Barrier).
class Progress {
 public:
  void reach(int64_t step) { step_.store(step, std::memory_order_release); }
  int64_t wait_beyond(int64_t step) const {
    for (int time = 50;; time = std::min(time + 50, 1000)) {
      const int64_t reached = step_.load(std::memory_order_acquire);
      if (reached > step) return reached;
      nap(time);
    }
  }

 private:
  alignas(64) std::atomic<int64_t> step_{0};
};

// One run of minibatches; every thread of the team calls work().
template <class T, class Rule>
class Run {
 public:
  Run(const TrainProblem<T>& p, const Rule& rule, int threads)
      : p_(p),
        rule_(rule),
        network_(p),
        steps_((p.rows + p.batch_size - 1) / p.batch_size),
        most_groups_(RowGroups(std::min(p.batch_size, p.rows)).count),
        factors_(static_cast<std::size_t>(threads > 1 || network_.folded() ? threads : 0) * network_.size()),
        gradient_(static_cast<std::size_t>(most_groups_) * network_.size()),
        bias_gradient_(static_cast<std::size_t>(most_groups_ * p.outputs)),
        logits_(static_cast<std::size_t>(threads) * network_.tile_size()),
        scratch_(static_cast<std::size_t>(threads * network_.scratch())),
        states_(static_cast<std::size_t>(Rule::states) * network_.size()),
        squares_(static_cast<std::size_t>(p.outputs + 1)),
        group_loss_(static_cast<std::size_t>(most_groups_)),
        alone_from_(threads > 1 && Pace::alone() ? 0 : -1) {
    for (int k = 0; k < Rule::states; ++k) {
      state_[k] = states_.data() + k * size();
      if (rule.uses(k)) pack_weight(state_[k], p.weight_state[k], network_.shape(), p.x.columns);
    }
  }

  int64_t groups() const { return most_groups_; }
  void write_back() const {
    network_.write_back();
    for (int k = 0; k < Rule::states; ++k)
      if (rule_.uses(k)) unpack_weight(p_.weight_state[k], state_[k], network_.shape());
  }
  bool interrupted() const { return interrupt_.stopped(); }
  const TrainResult& result() const { return result_; }

  void work(int thread, int threads) {
    T* logits = logits_.data() + static_cast<std::size_t>(thread) * network_.tile_size();
    T* scratch = scratch_.data() + thread * network_.scratch();
    const void* pointers[2][tile_rows];
    int side = 0, team = threads;  // that makes this step
    Rule rule = rule_;
    Pace pace;
    Place here{-1, 0, 0};
    for (int64_t step = 0; step < steps_; ++step) {
      const int before = team;
      if (step == alone_from_ && thread > 0) {
        for (const int64_t reached = progress_.wait_beyond(step); step < reached; ++step) rule.advance();
        if (step == steps_) return;
      } else if (step == alone_from_) {
        team = 1;
      } else if (team < threads && !Pace::alone()) {
        team = threads;
        progress_.reach(step);
      }
      if (team != before || here.step < step) {
        here = start(step, thread, team);
        if (here.step < steps_) network_.point(pointers[side], here.begin, tile_end(here) - here.begin, scratch, side);
      }
      pace.begin();
      const T* const factors = make_factors(thread, threads);
      const RowGroups groups = groups_of(step);
      const T row_weight = static_cast<T>(1.0 / static_cast<double>(batch_end(step) - step * p_.batch_size));
      while (here.step == step) {
        const Place next = after(here, thread, team);
        if (next.step < steps_)
          network_.point(pointers[!side], next.begin, tile_end(next) - next.begin, scratch, !side);
        TileRows x{pointers[side], next.step < steps_ ? pointers[!side] : nullptr,
                   static_cast<int>(tile_end(here) - here.begin)};
        const TileLoss tile = network_.template loss<true>(logits, x, factors, here.begin, row_weight);
        const bool first = here.begin == group_begin(here);
        network_.backward(gradient(here.group), bias_gradient(here.group), x, logits, first);
        GroupLoss& group = group_loss_[static_cast<std::size_t>(here.group)];
        if (first) group = {};
        group.loss += tile.loss;
        group.correct += tile.correct;
        if (tile.first_bad >= 0 && group.bad_row < 0) group.bad_row = network_.row_number(here.begin + tile.first_bad);
        here = next;
        side = !side;
      }
      for_nodes(groups.count, team, [&](int64_t node, int64_t other, int owner) {
        if (owner == thread && other != added_by_step(groups.count)) add(node, other, 0, size());
      });
      if (thread == 0) interrupt_.check();
      pace.arrive();
      if (team > 1) barrier_.wait(team);
      if (interrupt_.stopped() || bad_row(groups.count) >= 0) {
        if (thread == 0) result_.bad_row = interrupt_.stopped() ? -1 : bad_row(groups.count);
        break;  // every thread of the team sees the same
      }
      if (thread == 0 && team > 1 && pace.too_slow(groups.count / team, groups.count)) alone_from_ = step + 1;
      update(rule, groups.count, thread, team);
      rule.advance();
      if (thread == 0) record(step, groups.count);
      if (team > 1) barrier_.wait(team);
    }
    if (thread == 0) progress_.reach(steps_);
  }

 private:
  struct alignas(64) GroupLoss {  // a cache line: other threads write theirs meanwhile
    double loss = 0;
    int64_t correct = 0, bad_row = -1;
  };
  struct Place {  // a tile: rows begin .. of a group of a step, as positions in the order
    int64_t step, group, begin;
  };

  int64_t batch_end(int64_t step) const { return std::min((step + 1) * p_.batch_size, p_.rows); }
  RowGroups groups_of(int64_t step) const { return RowGroups(batch_end(step) - step * p_.batch_size); }
  int64_t group_begin(const Place& at) const { return at.step * p_.batch_size + at.group * groups_of(at.step).height; }
  int64_t tile_end(const Place& at) const {
    return std::min({at.begin + tile_rows, group_begin(at) + groups_of(at.step).height, batch_end(at.step)});
  }

  // The first tile of a thread in a step or later; its step is steps_ at the end.
  Place start(int64_t step, int thread, int threads) const {
    for (; step < steps_; ++step) {
      const int64_t groups = groups_of(step).count, first = groups * thread / threads;
      if (first == groups * (thread + 1) / threads) continue;
      Place at{step, first, 0};
      at.begin = group_begin(at);
      return at;
    }
    return {steps_, 0, 0};
  }

  Place after(Place at, int thread, int threads) const {
    const RowGroups groups = groups_of(at.step);
    at.begin = tile_end(at);
    if (at.begin < std::min(at.step * p_.batch_size + (at.group + 1) * groups.height, batch_end(at.step))) return at;
    if (++at.group < groups.count * (thread + 1) / threads) return at;
    return start(at.step + 1, thread, threads);
  }

  // The nodes of the tree over the groups, children first: group[node] += group[other]. The owner is the thread that
  // has all the groups below the node, or -1.
  template <class Visit>
  static void for_nodes(int64_t groups, int threads, Visit visit) {
    for (int64_t size = 1; size < groups; size *= 2)
      for (int64_t node = 0; node + size < groups; node += 2 * size) {
        const int64_t last = std::min(node + 2 * size, groups) - 1;
        int owner = 0;
        while (groups * (owner + 1) / threads <= node) ++owner;
        visit(node, node + size, last < groups * (owner + 1) / threads ? owner : -1);
      }
  }

  // The second part of the tree's root, which the optimizer's step adds as it reads: lines that two processors read are
  // not written by both. 0 where there is none, or where the gradient's norm has to be known before.
  int64_t added_by_step(int64_t groups) const {
    return groups == 1 || p_.max_norm ? 0 : std::bit_floor(static_cast<uint64_t>(groups - 1));
  }

  int64_t size() const { return static_cast<int64_t>(network_.size()); }

  // What a thread multiplies with. Of several each has its own: lines that another processor has written are read from
  // there again and again, for a second-level cache does not keep them.
  const T* make_factors(int thread, int threads) const {
    if (threads == 1 && !network_.folded()) return network_.weights();
    T* own = factors_.data() + thread * size();
    network_.factors(own);
    return own;
  }
  T* gradient(int64_t group) const { return gradient_.data() + group * size(); }
  T* bias_gradient(int64_t group) const { return bias_gradient_.data() + group * p_.outputs; }

  void add(int64_t node, int64_t other, int64_t begin, int64_t end) const {
    T* sum = gradient(node);
    const T* part = gradient(other);
    for (int64_t i = begin; i < end; i += lanes<T>) store(sum + i, load(sum + i) + load(part + i));
  }

  int64_t bad_row(int64_t groups) const {
    for (int64_t g = 0; g < groups; ++g)
      if (group_loss_[static_cast<std::size_t>(g)].bad_row >= 0)
        return group_loss_[static_cast<std::size_t>(g)].bad_row;
    return -1;
  }

  void record(int64_t step, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) {
      result_.loss += group_loss_[static_cast<std::size_t>(g)].loss;
      result_.correct += group_loss_[static_cast<std::size_t>(g)].correct;
    }
    result_.rows += batch_end(step) - step * p_.batch_size;
    result_.steps += 1;
    if (p_.applied) *p_.applied = result_.steps;
  }

  // This thread's slice of the parameters: the rest of the tree and the optimizer.
  void update(const Rule& rule, int64_t groups, int thread, int threads) {
    const int64_t chunks = blocks_of(size(), chunk);
    const int64_t first = chunks * thread / threads, last = chunks * (thread + 1) / threads;
    const int64_t begin = first * chunk, end = std::min(last * chunk, size());
    for_nodes(groups, threads, [&](int64_t node, int64_t other, int owner) {
      if (owner < 0 && other != added_by_step(groups)) add(node, other, begin, end);
    });
    if (thread == 0 && p_.bias)
      for_nodes(groups, 1, [&](int64_t node, int64_t other, int) {
        for (int64_t c = 0; c < p_.outputs; ++c) bias_gradient(node)[c] += bias_gradient(other)[c];
      });
    Vec<T> clip = broadcast<T>(1);
    if (p_.max_norm) {
      if (threads > 1) barrier_.wait(threads);
      for (int64_t c = p_.outputs * thread / threads; c < p_.outputs * (thread + 1) / threads; ++c)
        squares_[static_cast<std::size_t>(c)] = squares_of(c);
      if (thread == 0) squares_.back() = bias_squares();
      if (threads > 1) barrier_.wait(threads);
      clip = broadcast<T>(static_cast<T>(clip_factor(std::sqrt(tree_sum(squares_)), *p_.max_norm)));
    }
    const int64_t other = added_by_step(groups);
    network_.update(gradient(0), other ? gradient(other) : nullptr, rule, clip, state_, begin, end);
    if (thread == 0 && p_.bias) update_bias(rule, clip);
  }

  // Of one output's weights. Each lane has a chain of its own, and the lanes are added up as a tree that is the same
  // from whichever lane the columns begin (LinearShape::lead): the bits do not depend on where the rows lie.
  double squares_of(int64_t output) const {
    constexpr int L = lanes<T>;
    double sums[L] = {};
    for (int64_t i = output * L; i < size(); i += p_.outputs * L) {
      const Vec<T> g = network_.true_gradient(load(gradient(0) + i), i);
      for (int l = 0; l < L; ++l) sums[l] += static_cast<double>(g[l]) * static_cast<double>(g[l]);
    }
    for (int half = L / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
    return sums[0];
  }

  double bias_squares() const {
    double sum = 0;
    for (int64_t c = 0; c < (p_.bias ? p_.outputs : 0); ++c)
      sum += static_cast<double>(bias_gradient(0)[c]) * static_cast<double>(bias_gradient(0)[c]);
    return sum;
  }

  void update_bias(const Rule& rule, Vec<T> clip) const {
    Vec<T> state[Rule::states] = {};
    for (int64_t c = 0; c < p_.outputs; c += lanes<T>) {
      const int some = static_cast<int>(std::min<int64_t>(lanes<T>, p_.outputs - c));
      for (int k = 0; k < Rule::states; ++k)
        if (rule.uses(k)) state[k] = load_partial(p_.bias_state[k] + c, some);
      const Vec<T> grad = load_partial(bias_gradient(0) + c, some) * clip;
      store_partial(p_.bias + c, rule.step(load_partial(p_.bias + c, some), grad, state), some);
      for (int k = 0; k < Rule::states; ++k)
        if (rule.uses(k)) store_partial(p_.bias_state[k] + c, state[k], some);
    }
  }

  static constexpr int64_t chunk = 16 * lanes<T>;  // of parameters, that one thread updates

  const TrainProblem<T>& p_;
  const Rule rule_;  // of the first step
  Network<T> network_;
  int64_t steps_, most_groups_;
  Scratch<T> factors_, gradient_, bias_gradient_, logits_, scratch_, states_;
  T* state_[Rule::states];
  std::vector<double> squares_;
  std::vector<GroupLoss> group_loss_;
  Barrier barrier_;
  int64_t alone_from_;  // the step that the first thread makes alone, and more after it; set while the others wait
  Progress progress_;
  Interrupt interrupt_;
  TrainResult result_;
};

}  // namespace

template <class T, class Rule>
TrainResult train(const TrainProblem<T>& p, Rule rule, int requested) {
  if (p.applied) *p.applied = 0;
  if (p.rows == 0) return {};
  if (p.outputs > narrow_outputs) return train_wide(p, rule, requested);
  const int64_t groups = RowGroups(std::min(p.batch_size, p.rows)).count;
  const Team team(requested, step_nanoseconds(std::min(p.batch_size, p.rows), p.x.columns, p.outputs));
  const int threads = static_cast<int>(std::min<int64_t>(team.threads(), groups));
  Run<T, Rule> run(p, rule, threads);
  on_threads(threads, [&](int thread, int given) { run.work(thread, given); });
  run.write_back();
  if (run.interrupted()) throw Interrupted{};
  return run.result();
}

template <class T>
TrainResult evaluate(const TrainProblem<T>& p, int requested) {
  if (p.outputs > narrow_outputs) return evaluate_wide(p, requested);
  const Network<T> network(p);
  constexpr int64_t height = 8 * tile_rows;
  const int64_t count = (p.rows + height - 1) / height;
  const Team team(requested, step_nanoseconds(p.rows, p.x.columns, p.outputs) / 2);
  const Scratch<T> logits(static_cast<std::size_t>(team.threads()) * network.tile_size());
  const Scratch<T> scratches(static_cast<std::size_t>(team.threads() * network.scratch()));
  const Scratch<T> factors(network.size());
  network.factors(factors.data());
  std::vector<double> loss(static_cast<std::size_t>(count));
  std::vector<int64_t> correct(static_cast<std::size_t>(count));
  for_tiles(count, team, [&](int64_t part, int thread) {
    const int64_t end = std::min((part + 1) * height, p.rows);
    T* own = logits.data() + static_cast<std::size_t>(thread) * network.tile_size();
    T* scratch = scratches.data() + thread * network.scratch();
    const void* pointers[2][tile_rows];
    int side = 0;
    network.point(pointers[0], part * height, std::min<int64_t>(tile_rows, end - part * height), scratch, 0);
    for (int64_t begin = part * height; begin < end; begin += tile_rows, side = !side) {
      const int64_t next = begin + tile_rows;
      if (next < end) network.point(pointers[!side], next, std::min<int64_t>(tile_rows, end - next), scratch, !side);
      TileRows x{pointers[side], next < end ? pointers[!side] : nullptr,
                 static_cast<int>(std::min<int64_t>(tile_rows, end - begin))};
      const TileLoss tile = network.template loss<false>(own, x, factors.data(), begin, T(0));
      loss[static_cast<std::size_t>(part)] += tile.loss;
      correct[static_cast<std::size_t>(part)] += tile.correct;
    }
  });
  TrainResult result;
  result.rows = p.rows;
  for (int64_t n : correct) result.correct += n;
  result.loss = tree_sum(loss);
  return result;
}

#define SOFTSTEP_TRAIN(T)                                              \
  template TrainResult train(const TrainProblem<T>&, Sgd<T>, int);     \
  template TrainResult train(const TrainProblem<T>&, Rmsprop<T>, int); \
  template TrainResult train(const TrainProblem<T>&, Adam<T>, int);    \
  template TrainResult evaluate(const TrainProblem<T>&, int);
SOFTSTEP_TRAIN(float)
SOFTSTEP_TRAIN(double)
#undef SOFTSTEP_TRAIN

}  // namespace softstep
