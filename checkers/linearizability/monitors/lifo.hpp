// The native LIFO stack monitor; lifo.py and trees.py are the specification: same core, same order.
#pragma once

#include <functional>
#include <queue>
#include <tuple>

#include "collection.hpp"

namespace themis {

constexpr int kNever = 1 << 30;

inline int WidthFor(int size) {
  int width = 1;
  while (width < size) width *= 2;
  return width;
}

// The values that are left, with their bounds, by place.
class Peel {
 public:
  explicit Peel(int size) : size_(size), width_(WidthFor(size)), nodes_(2 * width_) {}

  void Set(int k, int e_lo, int e_hi, int d_hi) { nodes_[width_ + k] = {e_lo, e_hi, d_hi}; }

  void Build() {
    for (int node = width_ - 1; node > 0; --node) Join(node);
  }

  bool IsRemoved(int k) const { return nodes_[width_ + k].d_hi < 0; }

  void Remove(int k) {
    int node = width_ + k;
    nodes_[node] = Node();
    for (node /= 2; node > 0; node /= 2) Join(node);
  }

  int FirstFrom(int k) const {
    const int found = Search(1, 0, width_, k, size_ - 1, kNever - 1, 0);
    return found < 0 ? size_ : found;
  }

  int LastUntil(int k) const {
    while (k >= 0 && IsRemoved(k)) {
      int node = width_ + k;
      while (node > 1 && (node % 2 == 0 || nodes_[node - 1].d_hi < 0)) node /= 2;
      if (node == 1) return -1;
      for (--node; node < width_;) node = 2 * node + (nodes_[2 * node + 1].d_hi >= 0);
      k = node - width_;
    }
    return k;
  }

  int LeastEHi(int first, int last) const {
    int least = kNever;
    for (int low = first + width_, high = last + width_ + 1; low < high; low /= 2, high /= 2) {
      if (low % 2) least = std::min(least, nodes_[low++].e_hi);
      if (high % 2) least = std::min(least, nodes_[--high].e_hi);
    }
    return least;
  }

  int Find(int first, int last, int m1, int m2) const { return Search(1, 0, width_, first, last, m1, m2); }

 private:
  struct Node {
    int e_lo = kNever;
    int e_hi = kNever;
    int d_hi = -1;
  };

  void Join(int node) {
    const Node& left = nodes_[2 * node];
    const Node& right = nodes_[2 * node + 1];
    nodes_[node] = {std::min(left.e_lo, right.e_lo), std::min(left.e_hi, right.e_hi), std::max(left.d_hi, right.d_hi)};
  }

  int Search(int node, int begin, int size, int first, int last, int m1, int m2) const {
    if (begin > last || begin + size <= first || nodes_[node].e_lo > m1 || nodes_[node].d_hi < m2) return -1;
    if (size == 1) return begin;
    const int half = size / 2;
    const int found = Search(2 * node, begin, half, first, last, m1, m2);
    return found >= 0 ? found : Search(2 * node + 1, begin + half, half, first, last, m1, m2);
  }

  int size_, width_;
  std::vector<Node> nodes_;
};

// How many of the values that are left cover gap d_lo[k], for each place k.
class Cover {
 public:
  Cover(const std::vector<int>& d_lo, const std::vector<int>& e_hi)
      : width_(WidthFor(static_cast<int>(d_lo.size()))), least_(2 * width_, 0), added_(2 * width_, 0) {
    const int size = static_cast<int>(d_lo.size());
    std::vector<int> change(size + 1, 0);
    for (int j = 0; j < size; ++j) {
      begin_.push_back(static_cast<int>(std::upper_bound(d_lo.begin(), d_lo.end(), e_hi[j]) - d_lo.begin()));
      if (begin_[j] < j) {
        ++change[begin_[j]];
        --change[j];
      }
    }
    int depth = 0;
    for (int k = 0; k < size; ++k) least_[width_ + k] = depth += change[k];
    for (int node = width_ - 1; node > 0; --node) least_[node] = std::min(least_[2 * node], least_[2 * node + 1]);
  }

  void Remove(int j) {
    if (begin_[j] < j) Add(1, 0, width_, begin_[j], j - 1);
  }

  int FirstFree(int first, int last) const { return Free(1, 0, width_, first, last, 0); }

 private:
  void Add(int node, int begin, int size, int first, int last) {
    if (begin > last || begin + size <= first) return;
    if (first <= begin && begin + size <= last + 1) {
      --least_[node];
      --added_[node];
      return;
    }
    const int half = size / 2;
    Add(2 * node, begin, half, first, last);
    Add(2 * node + 1, begin + half, half, first, last);
    least_[node] = std::min(least_[2 * node], least_[2 * node + 1]) + added_[node];
  }

  int Free(int node, int begin, int size, int first, int last, int above) const {
    if (begin > last || begin + size <= first || least_[node] + above > 0) return -1;
    if (size == 1) return begin;
    const int half = size / 2;
    above += added_[node];
    const int found = Free(2 * node, begin, half, first, last, above);
    return found >= 0 ? found : Free(2 * node + 1, begin + half, half, first, last, above);
  }

  int width_;
  std::vector<int> begin_, least_, added_;
};

// The place of the greatest value in a range, the last of equal ones.
class Latest {
 public:
  explicit Latest(const std::vector<int>& values) : width_(WidthFor(static_cast<int>(values.size()))), best_(2 * width_, {-1, -1}) {
    for (size_t k = 0; k < values.size(); ++k) best_[width_ + k] = {values[k], static_cast<int>(k)};
    for (int node = width_ - 1; node > 0; --node) best_[node] = std::max(best_[2 * node], best_[2 * node + 1]);
  }

  int At(int first, int last) const {
    std::pair<int, int> found = {-1, -1};
    for (int low = first + width_, high = last + width_ + 1; low < high; low /= 2, high /= 2) {
      if (low % 2) found = std::max(found, best_[low++]);
      if (high % 2) found = std::max(found, best_[--high]);
    }
    return found.second;
  }

 private:
  int width_;
  std::vector<std::pair<int, int>> best_;
};

class Lifo {
 public:
  explicit Lifo(Values& values) : v_(values) {}

  Found Decide() {
    if (v_.has_peeks) return Undecided(Reason::kStackPeeks);
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
    if (!left_.empty() && !Insert()) return Undecided(Reason::kInsertionFails);
    return Valid(Linearization());
  }

 private:
  bool Nest(const std::vector<Placed>& chosen, std::vector<int>& core) {
    const int size = static_cast<int>(by_d_lo_.size());
    std::vector<int> d_lo(size), e_hi(size);
    Peel peel(size);
    for (int k = 0; k < size; ++k) {
      const int v = by_d_lo_[k];
      d_lo[k] = v_.d_lo[v];
      e_hi[k] = v_.e_hi[v];
      peel.Set(k, v_.e_lo[v], e_hi[k], v_.take[v] < 0 ? v_.gaps : v_.hi[v_.take[v]]);
    }
    peel.Build();
    Cover cover(d_lo, e_hi);
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
        } else if ((k = cover.FirstFree(first, last - 1)) >= 0) {
          todo.emplace_back(k + 1, last);
          last = k;
        } else {
          std::vector<int> component;
          for (k = first; k <= last; ++k) {
            if (!peel.IsRemoved(k)) component.push_back(by_d_lo_[k]);
          }
          for (int v : component) {
            if (v_.e_hi[v] == m1 || v_.d_lo[v] == m2) v_.AddWhole(v, core);
          }
          for (int v : v_.Chain(m1 + 1, m2 - 1, component)) v_.AddWhole(v, core);
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
      core.push_back(v_.put[due[k].value]);
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
    std::vector<char> is_put(v_.lo.size(), 0), is_empty(v_.lo.size(), 0);
    for (int v : by_d_lo_) is_put[v_.put[v]] = 1;
    for (int i : v_.empties) is_empty[i] = 1;
    std::vector<int> due(size + 1, size);
    std::vector<int> around = {size};
    for (int k = size - 1; k >= 0; --k) {
      if (is_empty[order_[k]]) {
        around[0] = k;
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
