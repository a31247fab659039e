// The native set monitor; sets.py is the specification: same core, same order.
#pragma once

#include <map>
#include <tuple>

#include "../tuples.hpp"
#include "collection.hpp"

namespace themis {

enum SetKind { kSetDropped, kSetIdle, kAdd, kRemove, kPresent, kAbsent, kRead, kImpossible };

// Numbers for sets of values.
class Sets {
 public:
  std::vector<int> begin = {0};
  std::vector<int> values;

  // Sorts the values and gives the set's number.
  int Number(std::vector<int>& set) {
    std::sort(set.begin(), set.end());
    const auto [at, is_new] = numbers_.emplace(set, static_cast<int>(numbers_.size()));
    if (is_new) {
      values.insert(values.end(), set.begin(), set.end());
      begin.push_back(static_cast<int>(values.size()));
    }
    return at->second;
  }

 private:
  std::map<std::vector<int>, int> numbers_;
};

class SetMonitor {
 public:
  SetMonitor(const Entries& entries, const Sets& sets) : entries_(entries), sets_(sets), set_count_(sets.begin.size() - 1) {
    Gaps found(entries);
    lo_ = std::move(found.lo);
    hi_ = std::move(found.hi);
    gaps_ = found.count;
    const int count = entries.value_count;
    is_read_.assign(count, 0);
    for (int v : sets.values) is_read_[v] = 1;
    for (std::vector<int>* each : {&x_lo_, &x_hi_}) each->assign(count, 0);
    for (std::vector<int>* each : {&x_lo_of_, &x_hi_of_}) each->assign(count, -1);
    adds_ = Lists(entries, kAdd, count);
    removes_ = Lists(entries, kRemove, count);
    present_ = Lists(entries, kPresent, count);
    absent_ = Lists(entries, kAbsent, count);
    reads_ = Lists(entries, kRead, static_cast<int>(set_count_));
  }

  Found Decide() {
    for (int i = 0; i < entries_.size; ++i) {
      if (entries_.kind[i] == kImpossible) return Invalid({i});
    }
    for (int i = 0; i < entries_.size; ++i) {
      if (entries_.kind[i] == kSetIdle) placed_.push_back({lo_[i], kFirst, i});
    }
    std::vector<int> last, core;
    for (int v = 0; v < entries_.value_count; ++v) {
      if (v + kAhead < entries_.value_count) Fetch(v + kAhead);
      const Part adds = adds_.of(v);
      const Part removes = removes_.of(v);
      if (adds.size() == 0) {
        if (NeverIn(v, core)) return Invalid(std::move(core));
      } else if (removes.size() > 0) {
        if (adds.size() > 1 || removes.size() > 1 || set_count_ > 0) return Undecided(Reason::kAddedAndRemoved);
        if (!InAndOut(v)) return Invalid(Extremes(v));
      } else if (IsOptional(v)) {
        for (int i : absent_.of(v)) placed_.push_back({lo_[i], kFirst, i});
      } else {
        if (Window(v, core)) return Invalid(std::move(core));
        if (!is_read_[v]) last.push_back(v);
      }
    }
    if (Chain(last, core)) return Invalid(std::move(core));
    SortByGap(placed_, gaps_, [](const Step& step) { return step.gap; });
    std::vector<int> order;
    order.reserve(placed_.size());
    for (const Step& each : placed_) order.push_back(each.position);
    return Valid(std::move(order));
  }

 private:
  static constexpr int kAhead = 8;
  static constexpr int kFirst = -1;
  static constexpr int kLast = 1 << 30;

  struct Step {
    int gap, place, position;
    bool operator<(const Step& o) const { return std::tie(gap, place, position) < std::tie(o.gap, o.place, o.position); }
  };

  struct Part {
    const int* first;
    const int* past;
    const int* begin() const { return first; }
    const int* end() const { return past; }
    int size() const { return static_cast<int>(past - first); }
  };

  // The positions of one kind, by value, in order of calls.
  struct Lists {
    std::vector<int> start, at;

    Lists() = default;
    Lists(const Entries& entries, int kind, int count) : start(count + 1, 0) {
      for (int i = 0; i < entries.size; ++i) {
        if (entries.kind[i] == kind) ++start[entries.value[i] + 1];
      }
      for (int v = 0; v < count; ++v) start[v + 1] += start[v];
      at.resize(start[count]);
      std::vector<int> filled(start.begin(), start.end() - 1);
      for (int i = 0; i < entries.size; ++i) {
        if (entries.kind[i] == kind) at[filled[entries.value[i]]++] = i;
      }
    }

    Part of(int v) const { return {at.data() + start[v], at.data() + start[v + 1]}; }
  };

  Part Set(int s) const {
    return {sets_.values.data() + sets_.begin[s], sets_.values.data() + sets_.begin[s + 1]};
  }

  // Have the bounds of a value's first looks in the cache when its turn comes: they are anywhere.
  void Fetch(int v) const {
    for (const Lists* each : {&present_, &absent_}) {
      const Part part = each->of(v);
      for (const int* i = part.begin(); i < part.end() && i < part.begin() + 4; ++i) {
        fetched(&lo_[*i]);
        fetched(&hi_[*i]);
      }
    }
  }

  bool Returned(int i) const { return hi_[i] < gaps_ - 1; }

  bool NeverIn(int v, std::vector<int>& core) {
    if (present_.of(v).size() > 0) {
      core.push_back(*present_.of(v).begin());
      return true;
    }
    if (is_read_[v]) {
      for (int s = 0; s < static_cast<int>(set_count_); ++s) {
        const Part set = Set(s);
        if (std::binary_search(set.begin(), set.end(), v)) {
          core.push_back(*reads_.of(s).begin());
          return true;
        }
      }
    }
    for (int i : absent_.of(v)) placed_.push_back({lo_[i], kFirst, i});
    for (int i : removes_.of(v)) {
      if (Returned(i)) placed_.push_back({lo_[i], kFirst, i});
    }
    return false;
  }

  bool IsOptional(int v) const {
    if (present_.of(v).size() > 0 || is_read_[v]) return false;
    for (int i : adds_.of(v)) {
      if (Returned(i)) return false;
    }
    return true;
  }

  bool Window(int v, std::vector<int>& core) {
    const Part adds = adds_.of(v);
    x_lo_of_[v] = *adds.begin();
    x_lo_[v] = lo_[x_lo_of_[v]];
    x_hi_[v] = gaps_ - 1;
    for (const Part& part : {adds, present_.of(v)}) {
      for (int i : part) {
        if (hi_[i] < x_hi_[v]) {
          x_hi_[v] = hi_[i];
          x_hi_of_[v] = i;
        }
      }
    }
    for (int i : absent_.of(v)) {
      if (lo_[i] > x_lo_[v]) {
        x_lo_[v] = lo_[i];
        x_lo_of_[v] = i;
      }
    }
    if (x_lo_[v] <= x_hi_[v]) return false;
    core.assign(adds.begin(), adds.end());
    core.push_back(x_lo_of_[v]);
    core.push_back(x_hi_of_[v]);
    return true;
  }

  void BringIn(int v, int x, int place) {
    const Part adds = adds_.of(v);
    placed_.push_back({x, place, *adds.begin()});
    for (const int* i = adds.begin() + 1; i < adds.end(); ++i) {
      if (Returned(*i)) placed_.push_back({std::max(lo_[*i], x), kLast, *i});
    }
    for (int i : present_.of(v)) placed_.push_back({std::max(lo_[i], x), kLast, i});
    for (int i : absent_.of(v)) placed_.push_back({lo_[i], kFirst, i});
  }

  bool InAndOut(int v) {
    const int add = *adds_.of(v).begin();
    const int remove = *removes_.of(v).begin();
    const Part present = present_.of(v);
    const Part absent = absent_.of(v);
    if (present.size() == 0 && !Returned(add)) {
      for (int i : absent) placed_.push_back({lo_[i], kFirst, i});
      if (Returned(remove)) placed_.push_back({lo_[remove], kFirst, remove});
      return true;
    }
    int x_lo = lo_[add];
    int x_hi = hi_[add];
    for (int i : absent) x_lo = std::max(x_lo, lo_[i]);
    if (Returned(remove)) x_lo = std::max(x_lo, lo_[remove]);
    for (int i : present) x_hi = std::min(x_hi, hi_[i]);
    if (x_lo <= x_hi) {
      placed_.push_back({x_lo, 0, add});
      for (int i : absent) placed_.push_back({lo_[i], kFirst, i});
      if (Returned(remove)) placed_.push_back({lo_[remove], kFirst, remove});
      for (int i : present) placed_.push_back({std::max(lo_[i], x_lo), kLast, i});
      return true;
    }
    auto [x, y] = Stay(v);
    if (x < lo_[add] || y > hi_[remove]) return false;
    if (x >= y) {
      x = y;
    } else {
      for (int i : absent) {
        if (lo_[i] > x && hi_[i] < y) return false;
      }
    }
    placed_.push_back({x, 0, add});
    for (int i : present) placed_.push_back({std::max(lo_[i], x), 1, i});
    placed_.push_back({y, 2, remove});
    for (int i : absent) {
      placed_.push_back(lo_[i] <= x ? Step{lo_[i], kFirst, i} : Step{std::max(lo_[i], y), kLast, i});
    }
    return true;
  }

  std::pair<int, int> Stay(int v) const {
    const int add = *adds_.of(v).begin();
    const int remove = *removes_.of(v).begin();
    int x = std::min(hi_[add], hi_[remove]);
    int y = std::max(lo_[add], lo_[remove]);
    for (int i : present_.of(v)) {
      x = std::min(x, hi_[i]);
      y = std::max(y, lo_[i]);
    }
    return {x, y};
  }

  std::vector<int> Extremes(int v) const {
    const Part present = present_.of(v);
    const Part absent = absent_.of(v);
    std::vector<int> core = {*adds_.of(v).begin(), *removes_.of(v).begin()};
    auto by_hi = [this](int a, int b) { return hi_[a] < hi_[b]; };
    auto by_lo = [this](int a, int b) { return lo_[a] < lo_[b]; };
    if (present.size() > 0) {
      core.push_back(*std::min_element(present.begin(), present.end(), by_hi));
      core.push_back(*std::max_element(present.begin(), present.end(), by_lo));
    }
    if (absent.size() > 0) {
      const auto [x, y] = Stay(v);
      core.push_back(*std::max_element(absent.begin(), absent.end(), by_lo));
      for (int i : absent) {
        if (lo_[i] > x && hi_[i] < y) {
          core.push_back(i);
          break;
        }
      }
    }
    return core;
  }

  bool Chain(const std::vector<int>& last, std::vector<int>& core) {
    std::vector<int> order(set_count_);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [this](int a, int b) { return Set(a).size() < Set(b).size(); });
    std::vector<char> is_in(entries_.value_count, 0);
    int at = 0, at_of = -1, at_group = -1, size = 0, place = 0;
    std::vector<int> members;
    for (int group = 0; group <= static_cast<int>(set_count_); ++group) {
      const int s = group < static_cast<int>(set_count_) ? order[group] : -1;
      members.clear();
      if (s < 0) {
        members = last;
      } else {
        for (int v : Set(s)) {
          if (!is_in[v]) members.push_back(v);
        }
        if (Set(s).size() - static_cast<int>(members.size()) != size) {
          AddReadAndAdds(order[group - 1], core);
          AddReadAndAdds(s, core);
          return true;
        }
      }
      size += static_cast<int>(members.size());
      int begins = at;
      int begins_of = at_of;
      for (int v : members) {
        is_in[v] = 1;
        if (x_hi_[v] < at) {
          std::vector<int> reads;
          for (int each : {std::max(at_group, 0), group - 1}) {
            if (each >= 0 && each < group) reads.push_back(*reads_.of(order[each]).begin());
          }
          AddInverted(v, at_of, reads, core);
          return true;
        }
        if (x_lo_[v] > begins) {
          begins = x_lo_[v];
          begins_of = ~v;
        }
        BringIn(v, std::max(at, x_lo_[v]), place);
      }
      if (begins_of != at_of) at_group = group;
      at = begins;
      at_of = begins_of;
      ++place;
      if (s >= 0) {
        for (int i : reads_.of(s)) {
          if (hi_[i] < at) {
            std::vector<int> reads = {i};
            if (group > 0) reads.push_back(*reads_.of(order[group - 1]).begin());
            AddInverted(-1, at_of, reads, core);
            return true;
          }
        }
        for (int i : reads_.of(s)) {
          placed_.push_back({std::max(at, lo_[i]), place, i});
          if (lo_[i] > begins) {
            begins = lo_[i];
            begins_of = i;
          }
        }
      }
      if (begins_of != at_of) at_group = group;
      at = begins;
      at_of = begins_of;
      ++place;
    }
    return false;
  }

  void AddAdds(int v, std::vector<int>& core) const {
    const Part adds = adds_.of(v);
    core.insert(core.end(), adds.begin(), adds.end());
  }

  void AddReadAndAdds(int s, std::vector<int>& core) const {
    core.push_back(*reads_.of(s).begin());
    for (int v : Set(s)) AddAdds(v, core);
  }

  void AddInverted(int value, int before, const std::vector<int>& reads, std::vector<int>& core) const {
    core = reads;
    if (before >= 0) core.push_back(before);
    for (int v : {value, before < 0 ? ~before : -1}) {
      if (v < 0) continue;
      AddAdds(v, core);
      for (int i : {x_lo_of_[v], x_hi_of_[v]}) {
        if (i >= 0) core.push_back(i);
      }
    }
    const std::vector<int> so_far = core;
    for (int i : so_far) {
      if (entries_.kind[i] == kRead) {
        for (int v : Set(entries_.value[i])) AddAdds(v, core);
      }
    }
  }

  Entries entries_;
  const Sets& sets_;
  size_t set_count_;
  std::vector<int> lo_, hi_, x_lo_, x_hi_, x_lo_of_, x_hi_of_;
  int gaps_ = 0;
  std::vector<char> is_read_;
  Lists adds_, removes_, present_, absent_, reads_;
  std::vector<Step> placed_;
};

inline Found DecideSet(const Entries& entries, const Sets& sets) { return SetMonitor(entries, sets).Decide(); }

}  // namespace themis
