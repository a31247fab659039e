// The native FIFO queue monitor; fifo.py is the specification: same core, same order.
#pragma once

#include "collection.hpp"

namespace themis {

class Fifo {
 public:
  explicit Fifo(Values& values) : v_(values) {}

  Found Decide() {
    const bool has_crashed = !v_.unknown_takes.empty();
    for (int v : v_.alive) (v_.take[v] >= 0 || !has_crashed ? taken_ : left_).push_back(v);
    for (int v : left_) {
      if (v_.peek_begin[v] < v_.peek_begin[v + 1]) return Undecided(Reason::kPeekedNeverTaken);
    }
    h_ = v_.h;
    d_lo_ = v_.d_lo;
    zone_of_.assign(v_.count, -1);
    blocker_.assign(v_.count, -1);
    for (int i : v_.unknown_takes) calls_.push_back(v_.lo[i]);  // Entries are in order of calls.
    std::vector<int> core;
    if (Normalise(core) || Pair(core)) return Invalid(std::move(core));
    FindDeadlines();
    const size_t matched = Matched(deadline_, calls_);
    if (matched < deadline_.size()) return Invalid(Demand(matched + 1));
    const std::vector<int> allowed = Allowed();
    std::vector<Placed> chosen;
    for (int i : v_.empties) {
      const int g = allowed[v_.lo[i]];
      if (g > v_.hi[i]) return Invalid(Hidden(i));
      chosen.emplace_back(g, i);
    }
    std::stable_sort(chosen.begin(), chosen.end(), [](Placed a, Placed b) { return a.first < b.first; });
    return Valid(Linearization(chosen));
  }

 private:
  bool Normalise(std::vector<int>& core) {
    for (int v : taken_) {
      if (h_[v] < d_lo_[v]) zones_.push_back(v);
    }
    if (zones_.empty()) return false;
    std::stable_sort(zones_.begin(), zones_.end(), [this](int a, int b) { return h_[a] < h_[b]; });
    for (size_t k = 1; k < zones_.size(); ++k) {
      if (h_[zones_[k]] < d_lo_[zones_[k - 1]]) {
        v_.AddWhole(zones_[k - 1], core);
        v_.AddWhole(zones_[k], core);
        return true;
      }
    }
    std::vector<int> begins;
    for (int v : zones_) begins.push_back(h_[v]);
    for (int v : taken_) {
      if (h_[v] < d_lo_[v]) continue;
      const auto at = std::lower_bound(begins.begin(), begins.end(), h_[v]) - begins.begin() - 1;
      if (at >= 0 && h_[v] < v_.d_lo[zones_[at]]) {
        zone_of_[v] = zones_[at];
        h_[v] = begins[at];
      }
      if (v_.take[v] >= 0 && h_[v] < d_lo_[v]) {
        v_.AddWhole(v, core);
        v_.AddWhole(zone_of_[v], core);
        return true;
      }
    }
    return false;
  }

  void AddZone(int v, std::vector<int>& core) const {
    if (zone_of_[v] >= 0) v_.AddWhole(zone_of_[v], core);
  }

  bool Pair(std::vector<int>& core) const {
    const std::vector<int> ended = SortedBy(taken_, v_.gaps + 1, [this](int v) { return v_.e_hi[v]; });
    size_t at = 0;
    int latest = -1;
    for (int v : SortedBy(taken_, v_.gaps + 1, [this](int v) { return v_.e_lo[v]; })) {
      for (; at < ended.size() && v_.e_hi[ended[at]] < v_.e_lo[v]; ++at) {
        if (latest < 0 || d_lo_[ended[at]] > d_lo_[latest]) latest = ended[at];
      }
      if (latest >= 0 && d_lo_[latest] > h_[v]) {
        for (int each : {v, latest}) {
          v_.AddWhole(each, core);
          AddZone(each, core);
        }
        return true;
      }
    }
    return false;
  }

  void FindDeadlines() {
    if (left_.empty()) return;
    std::vector<int> by_begin;
    for (int v : SortedBy(taken_, v_.gaps + 1, [this](int v) { return v_.gaps - v_.e_lo[v]; })) {
      if (v_.take[v] >= 0) by_begin.push_back(v);
    }
    size_t at = 0;
    int best = -1;
    for (int u : SortedBy(left_, v_.gaps + 1, [this](int v) { return v_.gaps - v_.e_hi[v]; })) {
      for (; at < by_begin.size() && v_.e_lo[by_begin[at]] > v_.e_hi[u]; ++at) {
        if (best < 0 || h_[by_begin[at]] < h_[best]) best = by_begin[at];
      }
      blocker_[u] = best;
      if (best >= 0) due_.push_back(u);
    }
    std::sort(due_.begin(), due_.end(), [this](int a, int b) {
      return std::make_pair(h_[blocker_[a]], a) < std::make_pair(h_[blocker_[b]], b);
    });
    for (int u : due_) deadline_.push_back(h_[blocker_[u]]);
  }

  std::vector<int> Demand(size_t count) const {
    std::vector<int> core;
    for (size_t k = 0; k < count; ++k) {
      for (int v : {due_[k], blocker_[due_[k]]}) {
        v_.AddWhole(v, core);
        AddZone(v, core);
      }
    }
    for (int i : v_.unknown_takes) {
      if (v_.lo[i] <= deadline_[count - 1]) core.push_back(i);
    }
    return core;
  }

  std::vector<int> Allowed() {
    covered_ = v_.IsCovered(taken_);
    std::vector<int> ended(v_.gaps + 1, 0);  // The values that are left and ended in each gap.
    for (int u : left_) ++ended[v_.e_hi[u]];
    int early = static_cast<int>(left_.size());  // Those with e_hi below g.
    size_t called = calls_.size();               // Those up to g.
    std::vector<int> found(v_.gaps + 1, v_.gaps + 1);
    for (int g = v_.gaps - 1; g >= 0; --g) {
      early -= ended[g];
      while (called > 0 && calls_[called - 1] > g) --called;
      found[g] = !covered_[g] && early <= static_cast<int>(called) ? g : found[g + 1];
    }
    return found;
  }

  std::vector<int> Hidden(int empty) const {
    const int first = v_.lo[empty];
    const int last = v_.hi[empty];
    std::vector<int> core = {empty};
    if (std::all_of(covered_.begin() + first, covered_.begin() + last + 1, [](char c) { return c != 0; })) {
      for (int v : v_.Chain(first, last, taken_)) v_.AddWhole(v, core);
      return core;
    }
    for (int v : taken_) {
      if (v_.e_hi[v] < last && v_.d_lo[v] > first) v_.AddWhole(v, core);
    }
    for (int u : left_) {
      if (v_.e_hi[u] < last) core.push_back(v_.put[u]);
    }
    for (int i : v_.unknown_takes) {
      if (v_.lo[i] <= last) core.push_back(i);
    }
    return core;
  }

  std::vector<int> Linearization(const std::vector<Placed>& chosen) {
    for (const Placed& each : chosen) {
      if (cuts_.empty() || cuts_.back() != each.first) cuts_.push_back(each.first);
    }
    std::vector<int> take = v_.take;
    TakeLeft(take);
    const std::vector<int> order = InOrder();
    std::vector<Placed> placed, puts, looks;
    placed.reserve(2 * order.size() + chosen.size());
    int block = 0;
    int e_at = 0;
    int d_at = 0;
    size_t empty = 0;
    auto flush = [&](int until) {
      while (block < until) {
        Merge(puts, looks, placed);
        puts.clear();
        looks.clear();
        for (; empty < chosen.size() && chosen[empty].first == cuts_[block]; ++empty) placed.push_back(chosen[empty]);
        e_at = d_at = cuts_[block++];
      }
    };
    std::vector<Placed> seen;
    for (int v : order) {
      flush(Block(v));
      e_at = std::max(e_at, v_.e_lo[v]);
      puts.emplace_back(e_at, v_.put[v]);
      const int begins = std::max(d_at, e_at);
      seen.clear();
      for (int k = v_.peek_begin[v]; k < v_.peek_begin[v + 1]; ++k) {
        seen.emplace_back(std::max(begins, v_.lo[v_.peek_at[k]]), v_.peek_at[k]);
      }
      std::sort(seen.begin(), seen.end());
      looks.insert(looks.end(), seen.begin(), seen.end());
      if (take[v] >= 0) {
        d_at = std::max({d_at, e_at, d_lo_[v]});
        looks.emplace_back(d_at, take[v]);
      }
    }
    flush(static_cast<int>(cuts_.size()));
    Merge(puts, looks, placed);
    return v_.Order(placed);
  }

  // Give each value that must be taken a crashed take.
  void TakeLeft(std::vector<int>& take) {
    if (left_.empty()) return;
    std::vector<int> due(v_.count, v_.gaps);
    std::vector<int> needed;
    for (size_t k = 0; k < due_.size(); ++k) due[due_[k]] = deadline_[k];
    for (int u : left_) {
      const auto at = std::upper_bound(cuts_.begin(), cuts_.end(), v_.e_hi[u]);
      if (at != cuts_.end()) due[u] = std::min(due[u], *at);
      if (due[u] < v_.gaps) needed.push_back(u);
    }
    std::sort(needed.begin(), needed.end(),
              [&](int a, int b) { return std::make_pair(due[a], a) < std::make_pair(due[b], b); });
    for (size_t k = 0; k < needed.size() && k < v_.unknown_takes.size(); ++k) {
      take[needed[k]] = v_.unknown_takes[k];
      d_lo_[needed[k]] = std::max(v_.e_lo[needed[k]], v_.lo[v_.unknown_takes[k]]);
    }
  }

  int Block(int v) const {
    return static_cast<int>(std::lower_bound(cuts_.begin(), cuts_.end(), d_lo_[v]) - cuts_.begin());
  }

  std::vector<int> InOrder() const {
    std::vector<int> alive = taken_;
    alive.insert(alive.end(), left_.begin(), left_.end());
    const int64_t scale = 4 * static_cast<int64_t>(v_.gaps) + 8;
    const size_t n = alive.size();
    std::vector<int64_t> e_lo(v_.count), e_hi(v_.count), d_lo(v_.count), h(v_.count);
    for (int v : alive) {
      const int64_t block = Block(v) * scale;
      e_lo[v] = block + v_.e_lo[v];
      e_hi[v] = block + v_.e_hi[v];
      d_lo[v] = block + 2 * d_lo_[v];
      h[v] = block + 2 * h_[v];
    }
    for (int v : zones_) d_lo[v] = h[v] = Block(v) * scale + 2 * h_[v] + 1;
    auto sorted = [&](const std::vector<int64_t>& key) {
      std::vector<std::pair<int64_t, int>> pairs;
      pairs.reserve(n);
      for (int v : alive) pairs.emplace_back(key[v], v);
      std::sort(pairs.begin(), pairs.end());
      std::vector<int> found;
      found.reserve(n);
      for (const auto& each : pairs) found.push_back(each.second);
      return found;
    };
    const std::vector<int> by_e_lo = sorted(e_lo), by_e_hi = sorted(e_hi), by_d_lo = sorted(d_lo), by_h = sorted(h);
    std::vector<char> passed(v_.count, 0), done(v_.count, 0);
    std::vector<int> order;
    order.reserve(n);
    size_t at = 0, end = 0, front = 0, begin = 0, done_count = 0;
    while (order.size() < n) {
      while (done[by_e_hi[end]]) ++end;
      while (done[by_h[front]]) ++front;
      for (; begin < n && e_lo[by_e_lo[begin]] <= e_hi[by_e_hi[end]]; ++begin) {
        if (++passed[by_e_lo[begin]] == 2) order.push_back(by_e_lo[begin]);
      }
      for (; at < n && d_lo[by_d_lo[at]] <= h[by_h[front]]; ++at) {
        if (++passed[by_d_lo[at]] == 2) order.push_back(by_d_lo[at]);
      }
      if (done_count == order.size()) throw std::logic_error("the relation has a cycle");
      done[order[done_count++]] = 1;
    }
    return order;
  }

  Values& v_;
  std::vector<int> taken_, left_, h_, d_lo_, zone_of_, zones_, blocker_, calls_, due_, deadline_, cuts_;
  std::vector<char> covered_;
};

inline Found DecideFifo(const Entries& entries) {
  Values values(entries);
  Found gathered = values.Gather(entries);
  return gathered.answer == Answer::kValid ? Fifo(values).Decide() : gathered;
}

}  // namespace themis
