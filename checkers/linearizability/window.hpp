// The history by return events and the window of open operations: the native twin of problem.py, whose names and rules
// hold.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "table.hpp"

namespace themis {

// A set of slots.
template <int W>
struct Mask {
    std::array<std::uint64_t, W> words{};

    bool has(int slot) const { return words[word(slot)] >> (slot & 63) & 1; }
    void add(int slot) { words[word(slot)] |= std::uint64_t{1} << (slot & 63); }
    void remove(int slot) { words[word(slot)] &= ~(std::uint64_t{1} << (slot & 63)); }
    bool operator==(const Mask& other) const { return words == other.words; }
    bool is_subset_of(const Mask& other) const {
        for (int i = 0; i < W; ++i) {
            if (words[static_cast<std::size_t>(i)] & ~other.words[static_cast<std::size_t>(i)]) return false;
        }
        return true;
    }

private:
    static std::size_t word(int slot) { return W == 1 ? 0 : static_cast<std::size_t>(slot) >> 6; }
};

inline std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {  // After MurmurHash3's finalizer.
    hash = (hash ^ value) * 0xff51afd7ed558ccdULL;
    return hash ^ (hash >> 32);
}

template <int W>
std::uint64_t mixed(std::uint64_t hash, const Mask<W>& mask) {
    for (std::uint64_t word : mask.words) hash = mixed(hash, word);
    return hash;
}

struct Problem {
    // Columns as in encode.py; op in the table's numbers.
    Problem(Table& table, int count, const int* op, const int* call, const int* end, int size, const int* returns);

    Table& table;
    int size;
    std::vector<int> entry, op, group, slot;
    std::vector<char> is_pure;
    std::vector<int> calls, calls_begin;  // calls[calls_begin[k] .. calls_begin[k + 1])
    std::vector<int> class_op, class_group;
    std::vector<std::vector<int>> class_entries;
    int width = 0;
};

inline Problem::Problem(Table& table, int count, const int* op_of, const int* call, const int* end, int size,
                        const int* returns)
    : table(table), size(size), entry(returns, returns + size) {
    std::vector<int> number_of(static_cast<std::size_t>(count), -1);
    op.reserve(entry.size());
    for (int number = 0; number < size; ++number) {
        const int position = returns[number];
        number_of[static_cast<std::size_t>(position)] = number;
        op.push_back(op_of[position]);
        group.push_back(table.group[static_cast<std::size_t>(op.back())]);
        is_pure.push_back(table.is_pure[static_cast<std::size_t>(op.back())]);
    }
    slot.assign(entry.size(), 0);
    calls.reserve(static_cast<std::size_t>(count));
    calls_begin.assign(entry.size() + 2, 0);
    std::vector<int> class_of(table.group.size(), -1);
    std::vector<int> free[2];
    int widths[2] = {0, 0};
    std::size_t k = 0;
    for (int position = 0; position < count; ++position) {
        while (k < entry.size() && end[entry[k]] < call[position]) {
            free[is_pure[k] != 0].push_back(slot[k]);
            calls_begin[++k] = static_cast<int>(calls.size());
        }
        const int number = number_of[static_cast<std::size_t>(position)];
        const auto operation = static_cast<std::size_t>(op_of[position]);
        if (number >= 0) {
            const bool kind = is_pure[static_cast<std::size_t>(number)] != 0;
            if (free[kind].empty()) free[kind].push_back(widths[kind]++);
            slot[static_cast<std::size_t>(number)] = free[kind].back();
            free[kind].pop_back();
            calls.push_back(number);
        } else if (!table.is_pure[operation]) {
            int& crashed = class_of[static_cast<std::size_t>(table.group[operation])];
            if (crashed < 0) {
                crashed = static_cast<int>(class_op.size());
                class_op.push_back(op_of[position]);
                class_group.push_back(table.group[operation]);
                class_entries.emplace_back();
            }
            class_entries[static_cast<std::size_t>(crashed)].push_back(position);
            calls.push_back(~crashed);
        }
    }
    while (k < entry.size()) calls_begin[++k] = static_cast<int>(calls.size());
    calls_begin[k + 1] = static_cast<int>(calls.size());
    width = std::max(widths[0], widths[1]);
}

template <int W>
class Window {
public:
    explicit Window(const Problem& problem)
        : problem_(&problem), available(problem.class_op.size(), 0), stamp_(problem.table.group.size(), 0) {
        call();
    }

    void forward() {
        auto& closing = open(k);
        closing.erase(closing.begin());
        call();
    }

    void backward() {
        const Problem& problem = *problem_;
        for (int i = begin(k); i < begin(k + 1); ++i) {
            const int called = problem.calls[at(i)];
            if (called < 0) {
                --available[at(~called)];
            } else {
                auto& opened = open(called);
                opened.erase(std::lower_bound(opened.begin(), opened.end(), called));
            }
        }
        --k;
        auto& closed = open(k);
        closed.insert(closed.begin(), k);
    }

    void add_legal(Mask<W>& mask, int state) const {
        for (int number : pures) add_if_legal(mask, number, state);
    }

    void add_legal_since(Mask<W>& mask, int state) const {
        const Problem& problem = *problem_;
        for (int i = begin(k); i < begin(k + 1); ++i) {
            const int called = problem.calls[at(i)];
            if (called >= 0 && problem.is_pure[at(called)]) add_if_legal(mask, called, state);
        }
    }

    bool is_legal(int number, int state) const { return problem_->table.is_possible(state, problem_->op[at(number)]); }

    bool is_done(const Mask<W>& updates_done, const Mask<W>& pures_done) const {
        return (problem_->is_pure[at(k)] ? pures_done : updates_done).has(problem_->slot[at(k)]);
    }

    void close(Mask<W>& updates_done, Mask<W>& pures_done) const {
        (problem_->is_pure[at(k)] ? pures_done : updates_done).remove(problem_->slot[at(k)]);
    }

    // Rule 2: `found` holds the open updates that may be tried.
    void candidates(const Mask<W>& done, std::vector<int>& found) {
        const Problem& problem = *problem_;
        found.clear();
        ++epoch_;
        for (int number : updates) {
            if (done.has(problem.slot[at(number)])) continue;
            auto& seen = stamp_[at(problem.group[at(number)])];
            if (seen == epoch_) continue;
            seen = epoch_;
            found.push_back(number);
        }
    }

    // Rule 3: `found` holds the crashed classes that may be tried, if they have operations left.
    void usable(const Mask<W>& done, std::vector<int>& found) {
        const Problem& problem = *problem_;
        found.clear();
        ++epoch_;
        for (int number : updates) {
            if (!done.has(problem.slot[at(number)])) stamp_[at(problem.group[at(number)])] = epoch_;
        }
        for (std::size_t c = 0; c < available.size(); ++c) {
            if (available[c] && stamp_[at(problem.class_group[c])] != epoch_) found.push_back(static_cast<int>(c));
        }
    }

private:
    static std::size_t at(int index) { return static_cast<std::size_t>(index); }
    int begin(int event) const { return problem_->calls_begin[at(event)]; }
    std::vector<int>& open(int number) { return problem_->is_pure[at(number)] ? pures : updates; }

    void add_if_legal(Mask<W>& mask, int number, int state) const {
        if (is_legal(number, state)) mask.add(problem_->slot[at(number)]);
    }

    void call() {
        const Problem& problem = *problem_;
        ++k;
        for (int i = begin(k); i < begin(k + 1); ++i) {
            const int called = problem.calls[at(i)];
            if (called < 0) {
                ++available[at(~called)];
            } else {
                auto& opened = open(called);
                if (opened.empty() || opened.back() < called) {
                    opened.push_back(called);
                } else {
                    opened.insert(std::lower_bound(opened.begin(), opened.end(), called), called);
                }
            }
        }
    }

    const Problem* problem_;

public:
    int k = -1;
    std::vector<int> updates, pures, available;

private:
    std::vector<std::uint64_t> stamp_;
    std::uint64_t epoch_ = 0;
};

struct Step {
    int number, state;
};

// A configuration as evidence: its masks are told apart into numbers of operations.
struct Seen {
    int state = 0;
    std::vector<int> linearized, pending, used;
};

template <int W>
Seen decoded(const Problem& problem, int k, const Mask<W>& updates, const Mask<W>& pures, int state,
             const std::vector<int>& used) {
    Window<W> window(problem);
    while (window.k < k) window.forward();
    Seen seen;
    seen.state = state;
    seen.used = used;
    for (const auto& [opened, done] : {std::pair{&window.updates, &updates}, std::pair{&window.pures, &pures}}) {
        for (int number : *opened) {
            const auto place = static_cast<std::size_t>(number);
            (done->has(problem.slot[place]) ? seen.linearized : seen.pending).push_back(problem.entry[place]);
        }
    }
    return seen;
}

// The path that the steps describe, as outcome.py's replay.
struct Path {
    std::vector<int> linearization, overdrawn, used;
};

template <int W>
Path replayed(const Problem& problem, const std::vector<Step>& steps) {
    Window<W> window(problem);
    Mask<W> updates, pures;
    Path path;
    path.used.assign(problem.class_op.size(), 0);
    path.linearization.reserve(problem.entry.size());
    int state = 0;
    const auto take_legal = [&](int number) {
        const auto place = static_cast<std::size_t>(number);
        if (pures.has(problem.slot[place]) || !window.is_legal(number, state)) return;
        pures.add(problem.slot[place]);
        path.linearization.push_back(problem.entry[place]);
    };
    const auto settle = [&]() {
        if (window.k == problem.size) return;
        for (int number : window.pures) take_legal(number);
        while (window.is_done(updates, pures)) {
            window.close(updates, pures);
            window.forward();
            if (window.k == problem.size) return;
            const auto event = static_cast<std::size_t>(window.k);
            for (int i = problem.calls_begin[event]; i < problem.calls_begin[event + 1]; ++i) {
                const int called = problem.calls[static_cast<std::size_t>(i)];
                if (called >= 0 && problem.is_pure[static_cast<std::size_t>(called)]) take_legal(called);
            }
        }
    };
    settle();
    for (const Step& step : steps) {
        if (step.number >= 0) {
            const auto place = static_cast<std::size_t>(step.number);
            updates.add(problem.slot[place]);
            path.linearization.push_back(problem.entry[place]);
        } else {
            const auto crashed = static_cast<std::size_t>(~step.number);
            int& used = path.used[crashed];
            if (used < window.available[crashed]) {
                path.linearization.push_back(problem.class_entries[crashed][static_cast<std::size_t>(used)]);
            } else if (std::find(path.overdrawn.begin(), path.overdrawn.end(), ~step.number) == path.overdrawn.end()) {
                path.overdrawn.push_back(~step.number);
            }
            ++used;
        }
        state = step.state;
        settle();
    }
    return path;
}

enum class Outcome { running, found, exhausted, gave_up };

inline constexpr int kSampleSize = 16;

// What both searches offer to search.py, whatever the width of their masks.
class Search {
public:
    virtual ~Search() = default;
    virtual Outcome run(std::int64_t until) = 0;
    virtual std::vector<int> linearization() = 0;
    virtual std::vector<Seen> sample() = 0;

    std::int64_t explored = 0;
};

}  // namespace themis
