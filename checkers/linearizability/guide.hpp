// Which configurations are dead ends: the native twin of guide.py, whose argument holds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "window.hpp"

namespace themis {

// Whether a pure operation may become possible from a state; negative: the model raised. Called with the interpreter
// lock released.
using AskReach = int (*)(void* context, int state, int op);

class Guide {
public:
    // landings: by operation, as Table.landings of table.py.
    Guide(const Problem& problem, const std::vector<int>& landings, AskReach ask, void* context)
        : problem_(problem), ask_(ask), context_(context), opened_(static_cast<std::size_t>(problem.size), 0) {
        for (int k = 0; k <= problem.size; ++k) {
            first_.push_back(static_cast<int>(observations_.size()));
            if (k < problem.size && problem.is_pure[at(k)]) observations_.push_back(k);
            for (int i = problem.calls_begin[at(k)]; i < problem.calls_begin[at(k + 1)]; ++i) {
                if (problem.calls[at(i)] >= 0) opened_[at(problem.calls[at(i)])] = k;
            }
        }
        for (int op : problem.op) landing_.push_back(landings[at(op)]);
        for (int op : problem.class_op) {
            if (landings[at(op)] >= 0) crashed_landings_.push_back(landings[at(op)]);
        }
    }

    template <int W>
    bool is_dead_end(const Window<W>& window, const Mask<W>& updates, const Mask<W>& pures, int state, int last) {
        if (window.k == problem_.size) return false;
        const auto first = at(first_[at(window.k)]);
        const std::size_t end = std::min(first + kLookedAt, observations_.size());
        for (std::size_t i = first; i < end; ++i) {
            const int number = observations_[i];
            if (number > last) return false;
            if (opened_[at(number)] <= window.k && pures.has(problem_.slot[at(number)])) continue;
            if (!can_reach(state, problem_.op[at(number)]) && !has_source(window, updates, number)) return true;
        }
        return false;
    }

private:
    static constexpr std::size_t kLookedAt = 8;  // As guide.py.

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }

    bool leads(int number, int op) { return landing_[at(number)] >= 0 && can_reach(landing_[at(number)], op); }

    template <int W>
    bool has_source(const Window<W>& window, const Mask<W>& updates, int observation) {
        const int op = problem_.op[at(observation)];
        for (int number : window.updates) {
            if (!updates.has(problem_.slot[at(number)]) && leads(number, op)) return true;
        }
        const int end = problem_.calls_begin[at(observation + 1)];
        for (int i = problem_.calls_begin[at(window.k + 1)]; i < end; ++i) {
            if (problem_.calls[at(i)] >= 0 && leads(problem_.calls[at(i)], op)) return true;
        }
        return std::any_of(crashed_landings_.begin(), crashed_landings_.end(),
                           [&](int state) { return can_reach(state, op); });
    }

    bool can_reach(int state, int op) {
        const std::uint64_t key = static_cast<std::uint64_t>(static_cast<std::uint32_t>(state)) << 32 |
                                  static_cast<std::uint32_t>(op);
        const auto known = known_.find(key);
        if (known != known_.end()) return known->second;
        const int answer = ask_(context_, state, op);
        if (answer < 0) throw Raised();
        known_.emplace(key, answer != 0);
        return answer != 0;
    }

    const Problem& problem_;
    AskReach ask_;
    void* context_;
    std::vector<int> observations_, first_, opened_, landing_, crashed_landings_;
    std::unordered_map<std::uint64_t, bool> known_;
};

}  // namespace themis
