// Transitions between interned states, as table.py has them; asks Python for one that is not known yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

namespace themis {

// The model raised; the caller of the search holds the Python exception.
struct Raised : std::runtime_error {
    Raised() : std::runtime_error("the model raised") {}
};

// Appends the states that may follow; not 0: the model raised. Called with the interpreter lock released.
using Fill = int (*)(void* context, int state, int op, std::vector<int>& following);

// The states that may follow one transition. Stays valid while the table grows.
class Following {
public:
    Following() = default;
    explicit Following(int only) : count_(1), only_(only) {}
    explicit Following(const std::vector<int>& many) : count_(static_cast<int>(many.size())), many_(many.data()) {}

    int size() const { return count_; }
    int operator[](int place) const { return many_ ? many_[place] : only_; }

private:
    int count_ = 0;
    int only_ = -1;
    const int* many_ = nullptr;
};

class Table {
public:
    // is_pure, group: by operation, as in table.py.
    Table(int op_count, std::vector<char> is_pure, std::vector<int> group, Fill fill, void* context)
        : is_pure(std::move(is_pure)),
          group(std::move(group)),
          op_count_(op_count),
          dense_states_max_(op_count > 0 ? kDenseMax / static_cast<std::size_t>(op_count) : 0),
          fill_(fill),
          context_(context) {}

    // Record a transition that is known beforehand.
    void set(int state, int op, const std::vector<int>& following) { cell(state, op) = encode(following); }

    Following following(int state, int op) {
        int code = cell(state, op);
        if (code == kUnknown) code = ask(state, op);
        if (code >= 0) return Following(code);
        return code == kNone ? Following() : Following(many_[static_cast<std::size_t>(kMany - code)]);
    }

    bool is_possible(int state, int op) {
        int code = cell(state, op);
        return (code == kUnknown ? ask(state, op) : code) != kNone;
    }

    const std::vector<char> is_pure;
    const std::vector<int> group;

private:
    // A code is a state, or none, or unknown, or kMany - (place in many_).
    static constexpr int kNone = -1, kUnknown = -2, kMany = -3;
    static constexpr std::size_t kDenseMax = std::size_t{1} << 24;  // 64 MB; beyond, only what was asked is stored.

    int& cell(int state, int op) {
        const auto row = static_cast<std::size_t>(state);
        if (row < dense_states_max_) {
            const std::size_t end = (row + 1) * static_cast<std::size_t>(op_count_);
            if (end > dense_.size()) dense_.resize(end, kUnknown);
            return dense_[row * static_cast<std::size_t>(op_count_) + static_cast<std::size_t>(op)];
        }
        const std::uint64_t key = static_cast<std::uint64_t>(row) * static_cast<std::uint64_t>(op_count_) +
                                  static_cast<std::uint64_t>(op);
        return sparse_.try_emplace(key, kUnknown).first->second;
    }

    int ask(int state, int op) {
        answer_.clear();
        if (fill_(context_, state, op, answer_) != 0) throw Raised();
        const int code = encode(answer_);
        cell(state, op) = code;
        return code;
    }

    int encode(const std::vector<int>& following) {
        if (following.empty()) return kNone;
        if (following.size() == 1) return following.front();
        many_.push_back(following);
        return kMany - static_cast<int>(many_.size() - 1);
    }

    int op_count_;
    std::size_t dense_states_max_;
    Fill fill_;
    void* context_;
    std::vector<int> dense_;
    std::unordered_map<std::uint64_t, int> sparse_;
    std::deque<std::vector<int>> many_;
    std::vector<int> answer_;
};

}  // namespace themis
