// What the native monitors of queues, stacks and priority queues share; collection.py is the specification.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace themis {

enum Kind { kDropped, kIdle, kPut, kTake, kPeek, kEmpty, kUnknownTake };

enum class Answer { kUndecided, kValid, kInvalid };

// Why a monitor does not decide. The wrapper has the words.
enum class Reason { kNone, kPutTwice, kPeekedNeverTaken, kCrashedTakes, kAddedAndRemoved, kInsertionFails };

// positions: of the linearization or of the core. subject: the value that the reason is about.
struct Found {
  Answer answer = Answer::kUndecided;
  std::vector<int> positions;
  Reason reason = Reason::kNone;
  int subject = -1;
};

inline Found Valid(std::vector<int> order) { return {Answer::kValid, std::move(order), Reason::kNone, -1}; }
inline Found Invalid(std::vector<int> core) { return {Answer::kInvalid, std::move(core), Reason::kNone, -1}; }
inline Found Undecided(Reason reason, int subject = -1) { return {Answer::kUndecided, {}, reason, subject}; }

// One history in numbers. The arrays belong to the caller.
struct Entries {
  int size = 0;
  const int* call = nullptr;
  const int* end = nullptr;
  int return_count = 0;
  const int* returns = nullptr;
  const int* kind = nullptr;
  const int* value = nullptr;
  int value_count = 0;
};

using Placed = std::pair<int, int>;  // Gap and position.

// Both, each in order of gaps, as one; inside a gap, the first's before the second's.
inline void Merge(const std::vector<Placed>& first, const std::vector<Placed>& second, std::vector<Placed>& out) {
  size_t a = 0;
  size_t b = 0;
  while (a < first.size() || b < second.size()) {
    if (b == second.size() || (a < first.size() && first[a].first <= second[b].first)) {
      out.push_back(first[a++]);
    } else {
      out.push_back(second[b++]);
    }
  }
}

// lo and hi of each entry, and the number of gaps.
struct Gaps {
  std::vector<int> lo, hi;
  int count = 0;

  explicit Gaps(const Entries& entries) : lo(entries.size), hi(entries.size, -1) {
    int returned = 0;
    for (int i = 0; i < entries.size; ++i) {
      while (returned < entries.return_count && entries.end[entries.returns[returned]] < entries.call[i]) {
        hi[entries.returns[returned++]] = count++ - 1;
      }
      lo[i] = count++;
    }
    while (returned < entries.return_count) hi[entries.returns[returned++]] = count++ - 1;
    for (int& each : hi) {
      if (each < 0) each = count - 1;
    }
  }
};

// The order of 0 .. n - 1 by key, where keys are small numbers: counting sort, stable.
template <class Key>
std::vector<int> SortedBy(const std::vector<int>& items, int64_t key_count, Key key) {
  std::vector<int> begin(key_count + 1, 0);
  for (int item : items) ++begin[key(item) + 1];
  for (int64_t k = 0; k < key_count; ++k) begin[k + 1] += begin[k];
  std::vector<int> sorted(items.size());
  for (int item : items) sorted[begin[key(item)]++] = item;
  return sorted;
}

// Sorts items, whose order begins with gap(item) in 0 .. gap_count - 1: by the digits of the gaps, then each gap's by themselves.
template <class Item, class Gap>
void SortByGap(std::vector<Item>& items, int gap_count, Gap gap) {
  constexpr int kBits = 11;
  constexpr int kDigits = 1 << kBits;
  std::vector<Item> other(items.size());
  for (int shift = 0; shift < 31 && (gap_count >> shift) > 0; shift += kBits) {
    size_t begin[kDigits + 1] = {0};
    for (const Item& each : items) ++begin[((gap(each) >> shift) & (kDigits - 1)) + 1];
    for (int digit = 0; digit < kDigits; ++digit) begin[digit + 1] += begin[digit];
    for (const Item& each : items) other[begin[(gap(each) >> shift) & (kDigits - 1)]++] = each;
    items.swap(other);
  }
  for (auto first = items.begin(); first != items.end();) {
    auto past = first + 1;
    while (past != items.end() && gap(*past) == gap(*first)) ++past;
    if (past - first > 1) std::sort(first, past);
    first = past;
  }
}

// Pairs (bound, entry) at gaps; the least of those above a gap, the first that was put among equal ones.
class Least {
 public:
  explicit Least(int size) : size_(size), best_(size + 1, {1 << 30, -1}) {}

  void Put(int gap, int bound, int entry) {
    for (int at = size_ - gap; at <= size_; at += at & -at) {
      if (bound < best_[at].first) best_[at] = {bound, entry};
    }
  }

  std::pair<int, int> Above(int gap) const {
    std::pair<int, int> found = {1 << 30, -1};
    for (int at = size_ - gap - 1; at > 0; at -= at & -at) {
      if (best_[at].first < found.first) found = best_[at];
    }
    return found;
  }

 private:
  int size_;
  std::vector<std::pair<int, int>> best_;
};

// The first of the deadlines, in ascending order, that has no call of its own that is not later; their number if all have.
inline size_t Matched(const std::vector<int>& deadlines, const std::vector<int>& calls) {
  size_t i = 0;
  while (i < deadlines.size() && i < calls.size() && calls[i] <= deadlines[i]) ++i;
  return i;
}

struct Values {
  std::vector<int> lo, hi;
  int gaps;
  int count;
  std::vector<int> put, take, e_lo, e_hi, d_lo, h, e_hi_of, d_lo_of, h_of;
  std::vector<int> peek_begin, peek_at;  // The peeks of v: peek_at[peek_begin[v] .. peek_begin[v + 1] - 1].
  std::vector<int> empties, unknown_takes, idle;
  std::vector<int> alive;
  bool has_peeks = false;

  explicit Values(const Entries& entries) : count(entries.value_count) {
    Gaps found(entries);
    lo = std::move(found.lo);
    hi = std::move(found.hi);
    gaps = found.count;
  }

  // kValid when the values have their bounds.
  Found Gather(const Entries& entries) {
    put.assign(count, -1);
    take.assign(count, -1);
    peek_begin.assign(count + 1, 0);
    std::vector<int> takes;
    for (int i = 0; i < entries.size; ++i) {
      const int v = entries.value[i];
      switch (entries.kind[i]) {
        case kPut:
          if (put[v] >= 0) return Undecided(Reason::kPutTwice, v);
          put[v] = i;
          break;
        case kTake: takes.push_back(i); break;
        case kPeek:
          ++peek_begin[v + 1];
          has_peeks = true;
          break;
        case kEmpty: empties.push_back(i); break;
        case kUnknownTake: unknown_takes.push_back(i); break;
        case kIdle: idle.push_back(i); break;
        default: break;
      }
    }
    for (int v = 0; v < count; ++v) peek_begin[v + 1] += peek_begin[v];
    peek_at.resize(peek_begin[count]);
    if (has_peeks) {
      std::vector<int> filled(peek_begin.begin(), peek_begin.end() - 1);
      for (int i = 0; i < entries.size; ++i) {
        if (entries.kind[i] == kPeek) peek_at[filled[entries.value[i]]++] = i;
      }
    }
    for (int i : takes) {
      const int v = entries.value[i];
      if (put[v] < 0) return Invalid({i});
      if (take[v] >= 0) return Invalid({put[v], take[v], i});
      take[v] = i;
    }
    for (std::vector<int>* each : {&e_lo, &e_hi, &d_lo, &h}) each->assign(count, 0);
    for (std::vector<int>* each : {&e_hi_of, &d_lo_of, &h_of}) each->assign(count, -1);
    for (int v = 0; v < count; ++v) {
      if (put[v] < 0) return Invalid({peek_at[peek_begin[v]]});
      Bound(v);
      if (put[v] < 0) continue;
      if (e_lo[v] > e_hi[v] || (take[v] >= 0 && d_lo[v] > hi[take[v]])) return Invalid(Whole(v));
      alive.push_back(v);
    }
    return Valid({});
  }

  void Bound(int v) {
    const int e = put[v];
    const int d = take[v];
    if (d < 0 && peek_begin[v] == peek_begin[v + 1] && hi[e] == gaps - 1) {
      put[v] = -1;
      return;
    }
    e_lo[v] = lo[e];
    e_hi[v] = hi[e];
    e_hi_of[v] = e;
    d_lo[v] = d < 0 ? gaps : lo[e];
    d_lo_of[v] = d < 0 ? -1 : e;
    h[v] = gaps;
    if (d >= 0) See(v, d);
    for (int k = peek_begin[v]; k < peek_begin[v + 1]; ++k) See(v, peek_at[k]);
  }

  void See(int v, int i) {
    if (hi[i] < e_hi[v]) {
      e_hi[v] = hi[i];
      e_hi_of[v] = i;
    }
    if (take[v] >= 0 && lo[i] > d_lo[v]) {
      d_lo[v] = lo[i];
      d_lo_of[v] = i;
    }
    if (hi[i] < h[v]) {
      h[v] = hi[i];
      h_of[v] = i;
    }
  }

  void AddWhole(int v, std::vector<int>& core) const {
    for (int i : {put[v], take[v], e_hi_of[v], d_lo_of[v], h_of[v]}) {
      if (i >= 0) core.push_back(i);
    }
  }

  std::vector<int> Whole(int v) const {
    std::vector<int> core;
    AddWhole(v, core);
    return core;
  }

  std::vector<char> IsCovered(const std::vector<int>& among) const {
    std::vector<int> change(gaps + 2, 0);
    for (int v : among) {
      if (e_hi[v] + 1 < d_lo[v]) {
        ++change[e_hi[v] + 1];
        --change[d_lo[v]];
      }
    }
    std::vector<char> covered(gaps);
    int depth = 0;
    for (int g = 0; g < gaps; ++g) {
      depth += change[g];
      covered[g] = depth > 0;
    }
    return covered;
  }

  // Fewest of the values whose covers hide the gaps first .. last, all of which are covered; in order.
  std::vector<int> Chain(int first, int last, const std::vector<int>& among) const {
    std::vector<int> by_begin = SortedBy(among, gaps + 1, [this](int v) { return e_hi[v]; });
    std::vector<int> found;
    int reached = first;
    int best = -1;
    size_t at = 0;
    while (reached <= last) {
      for (; at < by_begin.size() && e_hi[by_begin[at]] < reached; ++at) {
        if (best < 0 || d_lo[by_begin[at]] > d_lo[best]) best = by_begin[at];
      }
      if (best < 0 || d_lo[best] <= reached) break;  // Never: every gap is covered.
      found.push_back(best);
      reached = d_lo[best];
    }
    return found;
  }

  // The placed operations with the idle ones, as positions in order.
  std::vector<int> Order(const std::vector<Placed>& placed) const {
    std::vector<Placed> free;
    for (int i : idle) free.emplace_back(lo[i], i);
    std::vector<Placed> all;
    all.reserve(placed.size() + free.size());
    Merge(placed, free, all);
    std::vector<int> order;
    order.reserve(all.size());
    for (const Placed& each : all) order.push_back(each.second);
    return order;
  }
};

}  // namespace themis
