// The trees that the stack asks; trees.py is the specification.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

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

// How many of the values that are left cover each of the places 0 .. size - 1; value j covers begin[j] .. end[j] - 1.
class Cover {
 public:
  Cover(int size, std::vector<int> begin, std::vector<int> end)
      : width_(WidthFor(size)), begin_(std::move(begin)), end_(std::move(end)), least_(2 * width_, 0), added_(2 * width_, 0) {
    std::vector<int> change(size + 1, 0);
    for (size_t j = 0; j < begin_.size(); ++j) {
      if (begin_[j] < end_[j]) {
        ++change[begin_[j]];
        --change[end_[j]];
      }
    }
    int depth = 0;
    for (int k = 0; k < size; ++k) least_[width_ + k] = depth += change[k];
    for (int node = width_ - 1; node > 0; --node) least_[node] = std::min(least_[2 * node], least_[2 * node + 1]);
  }

  void Remove(int j) {
    if (begin_[j] < end_[j]) Add(1, 0, width_, begin_[j], end_[j] - 1, -1);
  }

  void PutBack(int j) {
    if (begin_[j] < end_[j]) Add(1, 0, width_, begin_[j], end_[j] - 1, 1);
  }

  int FirstFree(int first, int last) const { return Free(1, 0, width_, first, last, 0); }

 private:
  void Add(int node, int begin, int size, int first, int last, int change) {
    if (begin > last || begin + size <= first) return;
    if (first <= begin && begin + size <= last + 1) {
      least_[node] += change;
      added_[node] += change;
      return;
    }
    const int half = size / 2;
    Add(2 * node, begin, half, first, last, change);
    Add(2 * node + 1, begin + half, half, first, last, change);
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
  std::vector<int> begin_, end_, least_, added_;
};

// The cover of the gaps d_lo[k], by place k: the value at place j covers those from the first d_lo above its e_hi to j - 1.
inline Cover CoverOfEnds(const std::vector<int>& d_lo, const std::vector<int>& e_hi) {
  std::vector<int> begin, end(d_lo.size());
  begin.reserve(d_lo.size());
  for (int each : e_hi) begin.push_back(static_cast<int>(std::upper_bound(d_lo.begin(), d_lo.end(), each) - d_lo.begin()));
  std::iota(end.begin(), end.end(), 0);
  return Cover(static_cast<int>(d_lo.size()), std::move(begin), std::move(end));
}

// The cover of all gaps: the value at place j covers those from e_hi[j] + 1 to d_lo[j] - 1.
inline Cover CoverOfGaps(int gaps, std::vector<int> d_lo, std::vector<int> e_hi) {
  for (int& each : e_hi) ++each;
  return Cover(gaps, std::move(e_hi), std::move(d_lo));
}

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

}  // namespace themis
