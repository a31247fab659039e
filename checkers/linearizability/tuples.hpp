// Small numbers for integers and for tuples of small numbers, in order of first appearance.
//
// Both tables are open ones, whose slots are filled in runs: neighbours (values that differ in their last bits, operations about
// values numbered one after another) share a cache line. Histories put in new values in order, so most looks are into a line that
// was read just before; a table that scatters them reads one from memory each time, and grows faster than the history.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace themis {

inline std::uint64_t mixed(std::uint64_t hash, std::uint64_t part) {
    hash = (hash ^ part) * 0xff51afd7ed558ccdULL;
    return hash ^ (hash >> 32);
}

// Slots of small numbers, -1 where empty.
class Slots {
public:
    static constexpr std::size_t kRun = 16;

    Slots() : slots_(kSlotsMin, -1) {}

    // The slot of the number for which is_it holds, or the empty one where it belongs. run: equal for keys that shall be neighbours.
    template <class IsIt>
    int& at(std::uint64_t run, std::size_t place, IsIt is_it) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = (mixed(0x9e3779b97f4a7c15ULL, run) * kRun + place % kRun) & mask;
        while (slots_[at] >= 0 && !is_it(slots_[at])) at = (at + 1) & mask;
        return slots_[at];
    }

    bool is_full(std::size_t count) const { return 2 * count >= slots_.size(); }

    void clear_and_grow() { slots_.assign(slots_.size() * 2, -1); }

private:
    static constexpr std::size_t kSlotsMin = 1024;

    std::vector<int> slots_;
};

// The numbers of integers are the caller's.
class Integers {
public:
    // The integer's number; -1 where it has none yet, and then it has the next one.
    int number(std::int64_t integer, int next) {
        if (slots_.is_full(known_.size())) grow();
        int& slot = at(integer);
        if (slot >= 0) return known_[static_cast<std::size_t>(slot)].number;
        slot = static_cast<int>(known_.size());
        known_.push_back({integer, next});
        return -1;
    }

private:
    int& at(std::int64_t integer) {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        return slots_.at(bits / Slots::kRun, bits % Slots::kRun,
                         [this, integer](int i) { return known_[static_cast<std::size_t>(i)].integer == integer; });
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < known_.size(); ++i) at(known_[i].integer) = static_cast<int>(i);
    }

    struct Known {
        std::int64_t integer;
        int number;
    };

    Slots slots_;
    std::vector<Known> known_;
};

class Numbered {
public:
    // The number of a tuple; a new one is size() - 1. sort: what the tuple says beside the two values.
    int number(int sort, int argument, int result) {
        if (slots_.is_full(sort_.size())) grow();
        int& slot = at(sort, argument, result);
        if (slot < 0) {
            slot = static_cast<int>(sort_.size());
            sort_.push_back(sort);
            argument_.push_back(argument);
            result_.push_back(result);
        }
        return slot;
    }

    int size() const { return static_cast<int>(sort_.size()); }

    // By number.
    const std::vector<int>& sorts() const { return sort_; }
    const std::vector<int>& arguments() const { return argument_; }
    const std::vector<int>& results() const { return result_; }

private:
    int& at(int sort, int argument, int result) {
        // The higher of two values is mostly the newer one.
        const bool is_swapped = argument < result;
        const std::size_t high = static_cast<std::size_t>(is_swapped ? result : argument);
        const std::uint64_t low = static_cast<std::uint64_t>(is_swapped ? argument : result);
        const std::uint64_t rest = low << 32 | static_cast<std::uint64_t>(sort) << 1 | is_swapped;
        return slots_.at(mixed(rest, high / Slots::kRun), high % Slots::kRun, [this, sort, argument, result](int i) {
            const std::size_t at = static_cast<std::size_t>(i);
            return argument_[at] == argument && result_[at] == result && sort_[at] == sort;
        });
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < sort_.size(); ++i) at(sort_[i], argument_[i], result_[i]) = static_cast<int>(i);
    }

    Slots slots_;
    std::vector<int> sort_, argument_, result_;
};

}  // namespace themis
