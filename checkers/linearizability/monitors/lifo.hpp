// The native LIFO stack monitor; lifo.py and peeked.py are the specification: same core, same order.
#pragma once

#include <functional>
#include <memory>
#include <queue>
#include <tuple>

#include "collection.hpp"
#include "trees.hpp"

namespace themis {

constexpr int kHidden = kNever - 1;

// The values that somebody peeked at: which of them can be outermost. By place, as in the Peel of the stack.
class Peeked {
 public:
  Peeked(const Values& values, const std::vector<int>& by_d_lo, const std::vector<int>& d_lo, const std::vector<int>& e_hi,
         const std::vector<int>& d_hi)
      : v_(values),
        by_d_lo_(by_d_lo),
        d_lo_(d_lo),
        d_hi_(d_hi),
        passed_(values.count, 0),
        cover_(CoverOfGaps(values.gaps, d_lo, e_hi)),
        roots_(static_cast<int>(by_d_lo.size())) {
    for (size_t k = 0; k < by_d_lo.size(); ++k) {
      if (IsPeeked(by_d_lo[k])) roots_.Set(static_cast<int>(k), v_.e_lo[by_d_lo[k]], e_hi[k], d_hi[k]);
    }
    roots_.Build();
  }

  bool IsPeeked(int v) const { return v_.peek_begin[v] < v_.peek_begin[v + 1]; }

  void Remove(int k) { cover_.Remove(k); }

  int Find(const Peel& peel, int first, int last, int m1, int m2) {
    for (int k = roots_.Find(first, last, m1, m2); k >= 0; k = roots_.Find(k + 1, last, m1, m2)) {
      cover_.Remove(k);
      if (Fit(peel, k, first, last)) {
        roots_.Remove(k);
        return k;
      }
      cover_.PutBack(k);
    }
    return -1;
  }

  // Components and, as (~position, 0), peeks.
  std::vector<std::pair<int, int>> Parts(const Peel& peel, int k, int first, int last) const {
    const int m1 = LeastEHi(peel, k, first, last);
    const int v = by_d_lo_[k];
    std::vector<Placed> chosen;
    for (int at = v_.peek_begin[v]; at < v_.peek_begin[v + 1]; ++at) {
      const auto [begin, end] = Interval(k, v_.peek_at[at]);
      chosen.emplace_back(begin <= m1 ? begin : cover_.FirstFree(begin, end), v_.peek_at[at]);
    }
    std::sort(chosen.begin(), chosen.end());
    std::vector<std::pair<int, int>> found;
    for (const Placed& each : chosen) {
      const int after = static_cast<int>(std::upper_bound(d_lo_.begin(), d_lo_.end(), each.first) - d_lo_.begin());
      const int begin = std::max(first, std::min(after, last + 1));
      found.emplace_back(first, begin - 1);
      found.emplace_back(~each.second, 0);
      first = begin;
    }
    found.emplace_back(first, last);
    return found;
  }

  void WhyNot(std::vector<int>& needed, const std::vector<int>& component, int m1, int m2, std::vector<int>& core) const {
    std::vector<char> seen(v_.count, 0);
    for (size_t at = 0; at < needed.size(); ++at) {
      const int v = needed[at];
      const int d_hi = v_.take[v] < 0 ? v_.gaps : v_.hi[v_.take[v]];
      if (seen[v] || !IsPeeked(v) || v_.e_lo[v] > m1 || d_hi < m2) continue;
      seen[v] = 1;
      const int i = v_.peek_at[v_.peek_begin[v] + passed_[v]];
      core.push_back(i);
      std::vector<int> others;
      for (int each : component) {
        if (each != v) others.push_back(each);
      }
      for (int each : v_.Chain(std::max(v_.lo[i], v_.e_lo[v]), std::min(v_.hi[i], d_hi), others)) needed.push_back(each);
    }
  }

 private:
  bool Fit(const Peel& peel, int k, int first, int last) {
    const int v = by_d_lo_[k];
    const int m1 = LeastEHi(peel, k, first, last);
    const int other_last = k != last ? last : peel.LastUntil(k - 1);
    const int m2 = other_last >= first ? d_lo_[other_last] : -1;
    for (; v_.peek_begin[v] + passed_[v] < v_.peek_begin[v + 1]; ++passed_[v]) {
      const auto [begin, end] = Interval(k, v_.peek_at[v_.peek_begin[v] + passed_[v]]);
      if (begin > m1 && end < m2 && cover_.FirstFree(begin, end) < 0) return false;
    }
    return true;
  }

  std::pair<int, int> Interval(int k, int peek) const {
    return {std::max(v_.lo[peek], v_.e_lo[by_d_lo_[k]]), std::min(v_.hi[peek], d_hi_[k])};
  }

  static int LeastEHi(const Peel& peel, int k, int first, int last) {
    return std::min(peel.LeastEHi(first, k - 1), peel.LeastEHi(k + 1, last));
  }

  const Values& v_;
  const std::vector<int>& by_d_lo_;
  std::vector<int> d_lo_, d_hi_, passed_;
  Cover cover_;
  Peel roots_;
};

class Lifo {
 public:
  explicit Lifo(Values& values) : v_(values) {}

  Found Decide() {
    const bool has_crashed = !v_.unknown_takes.empty();
    std::vector<int> taken;
    for (int v : v_.alive) (v_.take[v] < 0 && has_crashed ? left_ : taken).push_back(v);
    by_d_lo_ = SortedBy(taken, v_.gaps + 1, [this](int v) { return v_.d_lo[v]; });
    const std::vector<char> covered = v_.IsCovered(by_d_lo_);
    std::vector<int> first_free(v_.gaps + 1, v_.gaps + 1);
    for (int g = v_.gaps - 1; g >= 0; --g) first_free[g] = covered[g] ? first_free[g + 1] : g;
    std::vector<Placed> chosen;
    for (int i : v_.empties) {
      const int g = first_free[v_.lo[i]];
      if (g > v_.hi[i]) {
        std::vector<int> core = {i};
        for (int v : v_.Chain(v_.lo[i], v_.hi[i], by_d_lo_)) v_.AddWhole(v, core);
        return Invalid(std::move(core));
      }
      chosen.emplace_back(g, i);
    }
    std::stable_sort(chosen.begin(), chosen.end(), [](Placed a, Placed b) { return a.first < b.first; });
    std::vector<int> core;
    if (!Nest(chosen, core)) return Invalid(std::move(core));
    if (!left_.empty() && TooFew(core)) return Invalid(std::move(core));
    for (int u : left_) {
      if (v_.peek_begin[u] < v_.peek_begin[u + 1]) return Undecided(Reason::kPeekedNeverTaken);
    }
    if (!left_.empty() && !Insert()) return Undecided(Reason::kInsertionFails);
    return Valid(Linearization());
  }

 private:
  bool Nest(const std::vector<Placed>& chosen, std::vector<int>& core) {
    const int size = static_cast<int>(by_d_lo_.size());
    std::vector<int> d_lo(size), e_hi(size), d_hi(size);
    Peel peel(size);
    bool has_peeks = false;
    for (int k = 0; k < size; ++k) {
      const int v = by_d_lo_[k];
      d_lo[k] = v_.d_lo[v];
      e_hi[k] = v_.e_hi[v];
      d_hi[k] = v_.take[v] < 0 ? v_.gaps : v_.hi[v_.take[v]];
      const bool is_peeked = v_.peek_begin[v] < v_.peek_begin[v + 1];
      has_peeks = has_peeks || is_peeked;
      peel.Set(k, is_peeked ? kHidden : v_.e_lo[v], e_hi[k], d_hi[k]);
    }
    peel.Build();
    Cover cover = CoverOfEnds(d_lo, e_hi);
    std::unique_ptr<Peeked> peeked;
    if (has_peeks) peeked = std::make_unique<Peeked>(v_, by_d_lo_, d_lo, e_hi, d_hi);
    std::vector<std::pair<int, int>> todo;
    int begin = 0;
    for (const Placed& each : chosen) {
      int end = begin;
      while (end < size && d_lo[end] <= each.first) ++end;
      todo.emplace_back(begin, end - 1);
      todo.emplace_back(~each.second, 0);
      begin = end;
    }
    todo.emplace_back(begin, size - 1);
    std::reverse(todo.begin(), todo.end());
    while (!todo.empty()) {
      auto [first, last] = todo.back();
      todo.pop_back();
      if (first < 0) {
        order_.push_back(~first);
        continue;
      }
      while (true) {
        first = peel.FirstFrom(first);
        last = peel.LastUntil(last);
        if (first > last) break;
        const int m1 = peel.LeastEHi(first, last);
        const int m2 = d_lo[last];
        int k = peel.Find(first, last, m1, m2);
        if (k >= 0) {
          const int v = by_d_lo_[k];
          order_.push_back(v_.put[v]);
          if (v_.take[v] >= 0) todo.emplace_back(~v_.take[v], 0);
          peel.Remove(k);
          cover.Remove(k);
          if (peeked) peeked->Remove(k);
        } else if ((k = cover.FirstFree(first, last - 1)) >= 0) {
          todo.emplace_back(k + 1, last);
          last = k;
        } else if (peeked && (k = peeked->Find(peel, first, last, m1, m2)) >= 0) {
          const int v = by_d_lo_[k];
          order_.push_back(v_.put[v]);
          if (v_.take[v] >= 0) todo.emplace_back(~v_.take[v], 0);
          const std::vector<std::pair<int, int>> parts = peeked->Parts(peel, k, first, last);
          todo.insert(todo.end(), parts.rbegin(), parts.rend());
          peel.Remove(k);
          cover.Remove(k);
          break;
        } else {
          std::vector<int> component, needed;
          for (k = first; k <= last; ++k) {
            if (!peel.IsRemoved(k)) component.push_back(by_d_lo_[k]);
          }
          for (int v : component) {
            if (v_.e_hi[v] == m1 || v_.d_lo[v] == m2) needed.push_back(v);
          }
          for (int v : v_.Chain(m1 + 1, m2 - 1, component)) needed.push_back(v);
          if (peeked) peeked->WhyNot(needed, component, m1, m2, core);
          for (int v : needed) v_.AddWhole(v, core);
          return false;
        }
      }
    }
    return true;
  }

  bool TooFew(std::vector<int>& core) const {
    Least least(v_.gaps);
    for (int i : v_.empties) least.Put(v_.lo[i], v_.hi[i], i);
    std::vector<int> top(v_.gaps, kNever), owner(v_.gaps, -1);
    Tops(top, owner);
    const Latest highest(top);
    struct Due {
      int deadline, value, empty;
      bool operator<(const Due& o) const { return std::tie(deadline, value) < std::tie(o.deadline, o.value); }
    };
    std::vector<Due> due;
    std::vector<int> deadlines, calls;
    for (int u : left_) {
      const int covered_until = top[highest.At(v_.e_lo[u], v_.e_hi[u])];
      const auto [deadline, empty] = least.Above(v_.e_hi[u]);
      if (std::min(deadline, covered_until) == kNever) continue;
      due.push_back(deadline < covered_until ? Due{deadline, u, empty} : Due{covered_until, u, -1});
    }
    std::sort(due.begin(), due.end());
    for (const Due& each : due) deadlines.push_back(each.deadline);
    for (int i : v_.unknown_takes) calls.push_back(v_.lo[i]);
    const size_t matched = Matched(deadlines, calls);
    if (matched == due.size()) return false;
    for (int i : v_.unknown_takes) {
      if (v_.lo[i] <= deadlines[matched]) core.push_back(i);
    }
    for (size_t k = 0; k <= matched; ++k) {
      v_.AddWhole(due[k].value, core);
      if (due[k].empty >= 0) {
        core.push_back(due[k].empty);
        continue;
      }
      for (int g = v_.e_lo[due[k].value]; g <= v_.e_hi[due[k].value]; g = v_.d_lo[owner[g]]) v_.AddWhole(owner[g], core);
    }
    return true;
  }

  void Tops(std::vector<int>& top, std::vector<int>& owner) const {
    const std::vector<int> begins = SortedBy(by_d_lo_, v_.gaps + 1, [this](int v) { return v_.e_hi[v]; });
    std::priority_queue<std::pair<int, int>, std::vector<std::pair<int, int>>, std::greater<>> open;
    size_t at = 0;
    for (int g = 0; g < v_.gaps; ++g) {
      for (; at < begins.size() && v_.e_hi[begins[at]] < g; ++at) open.emplace(v_.hi[v_.take[begins[at]]], begins[at]);
      while (!open.empty() && v_.d_lo[open.top().second] <= g) open.pop();
      if (!open.empty()) std::tie(top[g], owner[g]) = open.top();
    }
  }

  bool Insert() {
    const int size = static_cast<int>(order_.size());
    std::vector<int> begins(size + 1, 0), ends(size + 1, v_.gaps);
    for (int k = 0; k < size; ++k) begins[k + 1] = std::max(begins[k], v_.lo[order_[k]]);
    for (int k = size - 1; k >= 0; --k) ends[k] = std::min(ends[k + 1], v_.hi[order_[k]]);
    const std::vector<int> due = Enclosing();
    const Latest best(due);
    std::vector<std::pair<int, int>> at;  // Slot and value.
    std::vector<int> needed(size + 1, 0);
    size_t needed_count = 0;
    for (int u : left_) {
      const int first = static_cast<int>(std::lower_bound(ends.begin(), ends.end(), v_.e_lo[u]) - ends.begin());
      const int last = static_cast<int>(std::upper_bound(begins.begin(), begins.end(), v_.e_hi[u]) - begins.begin()) - 1;
      if (first > last) return false;
      const int slot = best.At(first, last);
      at.emplace_back(slot, u);
      if (due[slot] < size) {
        ++needed[due[slot]];
        ++needed_count;
      }
    }
    if (needed_count > v_.unknown_takes.size()) return false;
    std::sort(at.begin(), at.end(), [this](const auto& a, const auto& b) {
      return std::make_pair(a.first, v_.e_lo[a.second]) < std::make_pair(b.first, v_.e_lo[b.second]);
    });
    std::vector<int> found;
    size_t used = 0;
    size_t inserted = 0;
    for (int k = 0; k <= size; ++k) {
      for (; inserted < at.size() && at[inserted].first == k; ++inserted) found.push_back(v_.put[at[inserted].second]);
      for (int count = needed[k]; count > 0; --count) found.push_back(v_.unknown_takes[used++]);
      if (k < size) found.push_back(order_[k]);
    }
    order_ = std::move(found);
    int now = 0;
    for (int i : order_) {
      now = std::max(now, v_.lo[i]);
      if (now > v_.hi[i]) return false;
    }
    return true;
  }

  std::vector<int> Enclosing() const {
    const int size = static_cast<int>(order_.size());
    std::vector<char> is_put(v_.lo.size(), 0), is_empty(v_.lo.size(), 0), is_peek(v_.lo.size(), 0);
    for (int v : by_d_lo_) {
      is_put[v_.put[v]] = 1;
      for (int at = v_.peek_begin[v]; at < v_.peek_begin[v + 1]; ++at) is_peek[v_.peek_at[at]] = 1;
    }
    for (int i : v_.empties) is_empty[i] = 1;
    std::vector<int> due(size + 1, size);
    std::vector<int> around = {size};
    for (int k = size - 1; k >= 0; --k) {
      if (is_empty[order_[k]]) {
        around[0] = k;
      } else if (is_peek[order_[k]]) {
        around.back() = k;
      } else if (is_put[order_[k]]) {
        around.pop_back();
      } else {
        around.push_back(k);
      }
      due[k] = around.back();
    }
    return due;
  }

  std::vector<int> Linearization() const {
    std::vector<Placed> placed;
    placed.reserve(order_.size());
    int now = 0;
    for (int i : order_) {
      now = std::max(now, v_.lo[i]);
      placed.emplace_back(now, i);
    }
    return v_.Order(placed);
  }

  Values& v_;
  std::vector<int> by_d_lo_, left_, order_;
};

inline Found DecideLifo(const Entries& entries) {
  Values values(entries);
  Found gathered = values.Gather(entries);
  return gathered.answer == Answer::kValid ? Lifo(values).Decide() : gathered;
}

}  // namespace themis
