// The native priority queue monitor; priority.py is the specification: same core, same order.
#pragma once

#include <map>
#include <tuple>

#include "../tuples.hpp"
#include "collection.hpp"

namespace themis {

// Has what stands there fetched into the cache. Values are taken in order of priority, so what is known of them is read from anywhere;
// which ones come is known, and far more time passes with waiting for memory than with anything else.
template <class Item>
inline void Fetch(const std::vector<Item>& items, int at) {
  fetched(items.data() + at);
}

// Each key's rank among the different ones; how many there are. By their digits, 11 bits at a time: linear.
inline int Rank(const std::vector<int64_t>& keys, std::vector<int>& ranks) {
  constexpr int kBits = 11;
  std::vector<std::pair<uint64_t, int>> sorted(keys.size()), other(keys.size());
  const int64_t least = keys.empty() ? 0 : *std::min_element(keys.begin(), keys.end());
  uint64_t most = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    sorted[i] = {static_cast<uint64_t>(keys[i]) - static_cast<uint64_t>(least), static_cast<int>(i)};
    most = std::max(most, sorted[i].first);
  }
  for (int shift = 0; shift < 64 && most >> shift; shift += kBits) {
    auto digit = [shift](uint64_t key) { return key >> shift & ((1 << kBits) - 1); };
    std::vector<int> begin((1 << kBits) + 1, 0);
    for (const auto& each : sorted) ++begin[digit(each.first) + 1];
    for (size_t k = 0; k < begin.size() - 1; ++k) begin[k + 1] += begin[k];
    for (const auto& each : sorted) other[begin[digit(each.first)]++] = each;
    sorted.swap(other);
  }
  ranks.resize(keys.size());
  int count = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (i == 0 || sorted[i].first != sorted[i - 1].first) ++count;
    ranks[sorted[i].second] = count - 1;
  }
  return count;
}

// The next gap that is left, in one direction, while gaps are struck out. -1 and size are never struck out.
class Jump {
 public:
  Jump(int size, int step) : step_(step), to_(size + 2) { std::iota(to_.begin(), to_.end(), 0); }

  void FetchFor(int gap) const { Fetch(to_, gap + 1); }

  void Strike(int gap) { to_[gap + 1] = gap + 1 + step_; }

  int Find(int gap) {
    int end = gap + 1;
    while (to_[end] != end) end = to_[end];
    for (int at = gap + 1; to_[at] != end;) {
      const int next = to_[at];
      to_[at] = end;
      at = next;
    }
    return end - 1;
  }

 private:
  int step_;
  std::vector<int> to_;
};

class Priority {
 public:
  Priority(Values& values, const int* level, int level_count)
      : v_(values), level_(level), level_count_(level_count), take_at_(values.count, values.gaps), put_at_(values.count) {}

  Found Decide() {
    const bool has_crashed = !v_.unknown_takes.empty();
    is_left_.assign(v_.count, 0);
    for (int v : v_.alive) {
      is_left_[v] = v_.take[v] < 0 && has_crashed;
      (is_left_[v] ? left_ : taken_).push_back(v);
    }
    for (int v : left_) {
      if (v_.peek_begin[v] < v_.peek_begin[v + 1]) return Undecided(Reason::kPeekedNeverTaken);
    }
    peek_gap_.assign(v_.peek_at.size(), 0);
    chosen_.assign(v_.count, v_.gaps);
    for (int i : v_.unknown_takes) calls_.push_back(v_.lo[i]);  // Entries are in order of calls.
    if (!left_.empty()) {
      further_.resize(v_.lo.size());
      value_of_.assign(v_.lo.size(), -1);
      for (int v : taken_) {
        if (v_.take[v] >= 0) value_of_[v_.take[v]] = v;
        for (int p = v_.peek_begin[v]; p < v_.peek_begin[v + 1]; ++p) value_of_[v_.peek_at[p]] = v;
      }
    }
    std::vector<int> core;
    by_level_ = ByLevel(v_.alive);
    const std::vector<int> taken_by_level = left_.empty() ? std::vector<int>() : ByLevel(taken_);
    if (Choose(left_.empty() ? by_level_ : taken_by_level, core)) return Invalid(std::move(core));
    if (!left_.empty() && TooFew(core)) return Invalid(std::move(core));
    for (int round = 0; round < kRoundsMax; ++round) {
      Place();
      std::vector<int> due, deadlines;
      for (int v : left_) {
        if (take_at_[v] < v_.gaps) due.push_back(v);
      }
      std::sort(due.begin(), due.end(),
                [this](int a, int b) { return std::make_pair(take_at_[a], a) < std::make_pair(take_at_[b], b); });
      for (int v : due) deadlines.push_back(take_at_[v]);
      const size_t matched = Matched(deadlines, calls_);
      if (matched == due.size()) {
        for (size_t k = 0; k < due.size(); ++k) v_.take[due[k]] = v_.unknown_takes[k];
        return Valid(Linearization());
      }
      due.resize(matched + 1);
      if (!MoveOn(due)) break;
    }
    return Undecided(Reason::kCrashedTakes);
  }

 private:
  static constexpr int kRoundsMax = 100;
  static constexpr size_t kFar = 16;
  static constexpr size_t kNear = 8;

  bool MoveOn(const std::vector<int>& due) {
    std::map<int, std::vector<std::pair<int, int>>> cuts;  // Gap to level and entry.
    auto has_further = [this](int i) { return i >= 0 && !further_[i].empty(); };
    for (int v : taken_) {
      if (has_further(v_.take[v])) cuts[chosen_[v]].emplace_back(level_[v], v_.take[v]);
    }
    for (size_t k = 0; k < v_.empties.size(); ++k) {
      if (has_further(v_.empties[k])) cuts[empty_gap_[k]].emplace_back(v_.count, ~static_cast<int>(k));
    }
    for (auto u = due.rbegin(); u != due.rend(); ++u) {
      bool has_moved = false;
      for (const auto& [level, which] : cuts[take_at_[*u]]) {
        if (level <= level_[*u]) continue;
        std::vector<int>& further = further_[which < 0 ? v_.empties[~which] : which];
        (which < 0 ? empty_gap_[~which] : chosen_[value_of_[which]]) = further.front();
        further.erase(further.begin());
        has_moved = true;
      }
      if (has_moved) return true;
    }
    return false;
  }

  bool TooFew(std::vector<int>& core) const {
    Least least(v_.gaps);
    for (int i : v_.empties) least.Put(v_.lo[i], v_.hi[i], i);
    std::vector<std::pair<int, int>> blocker(v_.count, {1 << 30, -1});
    std::vector<int> due, deadlines;
    for (size_t end = by_level_.size(), begin = end; end > 0; end = begin) {
      while (begin > 0 && level_[by_level_[begin - 1]] == level_[by_level_[end - 1]]) --begin;
      for (size_t k = begin; k < end; ++k) {
        const int v = by_level_[k];
        if (!is_left_[v]) continue;
        blocker[v] = least.Above(v_.e_hi[v]);
        if (blocker[v].second >= 0) due.push_back(v);
      }
      for (size_t k = begin; k < end; ++k) {
        const int v = by_level_[k];
        if (is_left_[v]) continue;
        if (v_.take[v] >= 0) least.Put(v_.d_lo[v], v_.hi[v_.take[v]], v_.take[v]);
        for (int p = v_.peek_begin[v]; p < v_.peek_begin[v + 1]; ++p) {
          const int i = v_.peek_at[p];
          least.Put(std::max(v_.lo[i], v_.e_lo[v]), v_.hi[i], i);
        }
      }
    }
    std::sort(due.begin(), due.end(), [&](int a, int b) {
      return std::make_pair(blocker[a].first, a) < std::make_pair(blocker[b].first, b);
    });
    for (int v : due) deadlines.push_back(blocker[v].first);
    const size_t matched = Matched(deadlines, calls_);
    if (matched == due.size()) return false;
    for (int i : v_.unknown_takes) {
      if (v_.lo[i] <= deadlines[matched]) core.push_back(i);
    }
    for (size_t k = 0; k <= matched; ++k) {
      const int i = blocker[due[k]].second;
      core.push_back(v_.put[due[k]]);
      core.push_back(i);
      if (value_of_[i] >= 0) v_.AddWhole(value_of_[i], core);
    }
    return true;
  }

  std::vector<int> GapsAfter(Jump& free, int gap, int last) const {
    std::vector<int> found;
    if (left_.empty()) return found;
    for (auto c = std::upper_bound(calls_.begin(), calls_.end(), gap); c != calls_.end() && *c <= last; ++c) {
      if (*c <= gap) continue;
      gap = free.Find(*c);
      if (gap > last) break;
      found.push_back(gap);
    }
    return found;
  }

  std::vector<int> ByLevel(const std::vector<int>& among) const {
    return SortedBy(among, level_count_, [this](int v) { return level_[v]; });  // Stable: among is in order of number.
  }

  // Calls each with the begin and the end of one level in the sorted values.
  template <class Each>
  bool ForLevels(const std::vector<int>& sorted, Each each) const {
    for (size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
      while (end < sorted.size() && level_[sorted[end]] == level_[sorted[begin]]) ++end;
      if (each(begin, end)) return true;
    }
    return false;
  }

  // sorted: those that are taken, by level.
  bool Choose(const std::vector<int>& sorted, std::vector<int>& core) {
    Jump free(v_.gaps, 1);
    const bool failed = ForLevels(sorted, [&](size_t begin, size_t end) {
      for (size_t k = begin; k < end; ++k) {
        const int v = sorted[k];
        if (k + kFar < sorted.size()) {
          for (const std::vector<int>* each : {&v_.take, &v_.d_lo, &v_.e_hi, &chosen_, &v_.peek_begin}) Fetch(*each, sorted[k + kFar]);
          const int near = sorted[k + kNear];
          if (v_.take[near] >= 0) Fetch(v_.hi, v_.take[near]);
          free.FetchFor(std::min(v_.d_lo[near], v_.gaps));
          free.FetchFor(v_.e_hi[near] + 1);
        }
        if (v_.take[v] >= 0) {
          const int last = v_.hi[v_.take[v]];
          chosen_[v] = free.Find(v_.d_lo[v]);
          if (chosen_[v] > last) {
            v_.AddWhole(v, core);
            AddHidden(v_.d_lo[v], last, level_[v], core);
            return true;
          }
          if (!left_.empty()) further_[v_.take[v]] = GapsAfter(free, chosen_[v], last);
        }
        for (int p = v_.peek_begin[v]; p < v_.peek_begin[v + 1]; ++p) {
          const int i = v_.peek_at[p];
          const int first = std::max(v_.lo[i], v_.e_lo[v]);
          peek_gap_[p] = free.Find(first);
          if (peek_gap_[p] > v_.hi[i]) {
            v_.AddWhole(v, core);
            core.push_back(i);
            AddHidden(first, v_.hi[i], level_[v], core);
            return true;
          }
        }
      }
      for (size_t k = begin; k < end; ++k) {
        const int v = sorted[k];
        for (int gap = free.Find(v_.e_hi[v] + 1); gap < v_.d_lo[v]; gap = free.Find(gap)) free.Strike(gap);
      }
      return false;
    });
    if (failed) return true;
    for (int i : v_.empties) {
      empty_gap_.push_back(free.Find(v_.lo[i]));
      if (empty_gap_.back() > v_.hi[i]) {
        core.push_back(i);
        AddHidden(v_.lo[i], v_.hi[i], v_.count, core);
        return true;
      }
      if (!left_.empty()) further_[i] = GapsAfter(free, empty_gap_.back(), v_.hi[i]);
    }
    return false;
  }

  void AddHidden(int first, int last, int level, std::vector<int>& core) const {
    std::vector<int> smaller;
    for (int v : taken_) {
      if (level_[v] < level) smaller.push_back(v);
    }
    for (int v : v_.Chain(first, last, smaller)) v_.AddWhole(v, core);
  }

  void Place() {
    std::vector<int> cut_count(v_.gaps + 1, 0);
    for (int gap : peek_gap_) ++cut_count[gap];
    for (int gap : empty_gap_) ++cut_count[gap];
    for (int v : taken_) ++cut_count[chosen_[v]];
    Jump before(v_.gaps, -1);
    Jump after(v_.gaps, 1);
    auto strike = [&](int gap) {
      before.Strike(gap);
      after.Strike(gap);
    };
    for (int gap = 0; gap < v_.gaps; ++gap) {
      if (cut_count[gap] == 0) strike(gap);
    }
    auto release = [&](int gap) {
      if (--cut_count[gap] == 0 && gap < v_.gaps) strike(gap);
    };
    ForLevels(by_level_, [&](size_t begin, size_t end) {
      for (size_t k = begin; k < end; ++k) {
        const int v = by_level_[k];
        if (k + kFar < by_level_.size()) {
          const int far = by_level_[k + kFar];
          for (const std::vector<int>* each : {&chosen_, &v_.e_lo, &v_.e_hi, &take_at_, &put_at_}) Fetch(*each, far);
          const int near = by_level_[k + kNear];
          Fetch(cut_count, chosen_[near]);
          for (const Jump* each : {&before, &after}) each->FetchFor(chosen_[near]);
          after.FetchFor(v_.e_hi[near] + 1);
        }
        if (is_left_[v]) continue;
        release(chosen_[v]);
        for (int p = v_.peek_begin[v]; p < v_.peek_begin[v + 1]; ++p) release(peek_gap_[p]);
      }
      for (size_t k = begin; k < end; ++k) {
        const int v = by_level_[k];
        take_at_[v] = std::min(chosen_[v], after.Find(v_.e_hi[v] + 1));
        put_at_[v] = std::max(v_.e_lo[v], before.Find(take_at_[v] - 1));
      }
      return false;
    });
  }

  std::vector<int> Linearization() const {
    struct Step {
      int gap, phase, order, step, position;
      bool operator<(const Step& o) const {
        return std::tie(gap, phase, order, step, position) < std::tie(o.gap, o.phase, o.order, o.step, o.position);
      }
    };
    std::vector<Step> steps;
    steps.reserve(2 * by_level_.size() + v_.peek_at.size() + v_.empties.size());
    // In order of values, which is nearly that of gaps; what is sorted below is all different.
    std::vector<int> place_of(v_.count);
    for (size_t k = 0; k < by_level_.size(); ++k) place_of[by_level_[k]] = static_cast<int>(k);
    for (int v : v_.alive) {
      const int place = place_of[v];
      const int begins = put_at_[v];
      const int ends = take_at_[v];
      steps.push_back({begins, begins == ends ? 0 : 2, begins == ends ? place : -place, 0, v_.put[v]});
      for (int p = v_.peek_begin[v]; p < v_.peek_begin[v + 1]; ++p) {
        const int gap = std::max(peek_gap_[p], begins);
        const bool is_new = gap == begins && begins != ends;
        steps.push_back({gap, is_new ? 2 : 0, is_new ? -place : place, 1, v_.peek_at[p]});
      }
      if (ends < v_.gaps) steps.push_back({ends, 0, place, 2, v_.take[v]});
    }
    for (size_t k = 0; k < v_.empties.size(); ++k) steps.push_back({empty_gap_[k], 1, 0, 0, v_.empties[k]});
    // Few steps share a gap: they are counted into place, and only the steps of one gap are compared.
    std::vector<int> begin(v_.gaps + 2, 0);
    for (const Step& each : steps) ++begin[each.gap + 2];
    for (int gap = 2; gap <= v_.gaps + 1; ++gap) begin[gap] += begin[gap - 1];
    std::vector<Step> sorted(steps.size());
    for (const Step& each : steps) sorted[begin[each.gap + 1]++] = each;
    std::vector<Placed> placed;
    placed.reserve(steps.size());
    for (int gap = 0; gap < v_.gaps; ++gap) {
      if (begin[gap + 1] - begin[gap] > 1) std::sort(sorted.begin() + begin[gap], sorted.begin() + begin[gap + 1]);
    }
    for (const Step& each : sorted) placed.emplace_back(each.gap, each.position);
    return v_.Order(placed);
  }

  Values& v_;
  const int* level_;
  int level_count_;
  std::vector<int> take_at_, put_at_, chosen_, taken_, left_, peek_gap_, empty_gap_, by_level_, calls_, value_of_;
  std::vector<std::vector<int>> further_;  // By entry.
  std::vector<char> is_left_;
};

inline Found DecidePriority(const Entries& entries, const int* level, int level_count) {
  Values values(entries);
  Found gathered = values.Gather(entries);
  return gathered.answer == Answer::kValid ? Priority(values, level, level_count).Decide() : gathered;
}

}  // namespace themis
