// Small numbers for integers and for tuples of small numbers, in order of first appearance.
//
// Both tables are open ones, whose slots are filled in runs: neighbours (values that differ in their last bits, operations about
// values numbered one after another) share a cache line. Histories put in new values in order, so most looks are into a line that
// was read just before; a table that scatters them reads one from memory each time, and grows faster than the history.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace themis {

// Has the line of memory in the cache when its turn comes.
inline void fetched(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

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
    // Where two runs meet, a key of the second steps over the first one's; the step is odd, so it comes to every slot.
    template <class IsIt>
    int& at(std::uint64_t run, std::size_t place, IsIt is_it) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = begin(run, place);
        while (slots_[at] >= 0 && !is_it(slots_[at])) at = (at + kRun + 1) & mask;
        return slots_[at];
    }

    // The first slot that `at` looks into.
    const int& first(std::uint64_t run, std::size_t place) const { return slots_[begin(run, place)]; }

    bool is_full(std::size_t count) const { return 2 * count >= slots_.size(); }

    void clear_and_grow() { slots_.assign(slots_.size() * 2, -1); }

private:
    static constexpr std::size_t kSlotsMin = 1024;

    std::size_t begin(std::uint64_t run, std::size_t place) const {
        return (mixed(0x9e3779b97f4a7c15ULL, run) * kRun + place % kRun) & (slots_.size() - 1);
    }

    std::vector<int> slots_;
};

// The numbers of integers are the caller's. Integers from 0 on that are not far above their count have a table of their own, in which a
// look needs one line of memory, and the lines of neighbours are neighbours; the others are hashed.
class Integers {
public:
    // The integer's number; -1 where it has none yet, and then it has the next one.
    int number(std::int64_t integer, int next) {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        if (bits >= direct_.size() && bits < kSpread * (count_ + kSpread)) widen(static_cast<std::size_t>(bits) + 1);
        if (bits < direct_.size()) {
            int& found = direct_[static_cast<std::size_t>(bits)];
            return found >= 0 ? found : add(found, next);
        }
        if (slots_.is_full(known_.size())) grow();
        int& slot = at(integer);
        if (slot >= 0) return known_[static_cast<std::size_t>(slot)].number;
        slot = static_cast<int>(known_.size());
        known_.push_back({integer, next});
        ++count_;
        return -1;
    }

    // Has the integer's line in the cache when its turn comes, unless it is hashed.
    void fetch(std::int64_t integer) const {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        if (bits < direct_.size()) fetched(&direct_[static_cast<std::size_t>(bits)]);
    }

private:
    static constexpr std::size_t kSpread = 8;

    int add(int& place, int number) {
        place = number;
        ++count_;
        return -1;
    }

    int& at(std::int64_t integer) {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        return slots_.at(bits / Slots::kRun, bits % Slots::kRun,
                         [this, integer](int i) { return known_[static_cast<std::size_t>(i)].integer == integer; });
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < known_.size(); ++i) {
            const std::uint64_t bits = static_cast<std::uint64_t>(known_[i].integer);
            slots_.at(bits / Slots::kRun, bits % Slots::kRun, [](int) { return false; }) = static_cast<int>(i);
        }
    }

    // Those that were hashed before stay in their slots, where nobody looks for them any more.
    void widen(std::size_t size_min) {
        direct_.resize(std::max(size_min, 2 * direct_.size()), -1);
        for (const Known& each : known_) {
            const std::uint64_t bits = static_cast<std::uint64_t>(each.integer);
            if (bits < direct_.size()) direct_[static_cast<std::size_t>(bits)] = each.number;
        }
    }

    struct Known {
        std::int64_t integer;
        int number;
    };

    std::vector<int> direct_;
    std::size_t count_ = 0;
    Slots slots_;
    std::vector<Known> known_;
};

class Numbered {
public:
    struct Tuple {
        int sort, argument, result;
    };

    // The number of a tuple; a new one is size() - 1. sort: what the tuple says beside the two values.
    int number(int sort, int argument, int result) {
        if (slots_.is_full(tuples_.size())) grow();
        const Tuple asked{sort, argument, result};
        int& slot = at(asked);
        if (slot < 0) {
            slot = static_cast<int>(tuples_.size());
            tuples_.push_back(asked);
        }
        return slot;
    }

    int size() const { return static_cast<int>(tuples_.size()); }

    // By number.
    const std::vector<Tuple>& tuples() const { return tuples_; }

    // Have the tuple's slot in the cache when its turn comes; and, once that is there, what it leads to.
    void fetch_slot(int sort, int argument, int result) const { fetched(&place_of({sort, argument, result})); }
    void fetch_tuple(int sort, int argument, int result) const {
        const int found = place_of({sort, argument, result});
        if (found >= 0) fetched(&tuples_[static_cast<std::size_t>(found)]);
    }

private:
    static constexpr std::size_t kAhead = 16;

    // Where neighbours are neighbours, and the place among them. The higher of two values is mostly the newer one.
    struct Run {
        std::uint64_t run;
        std::size_t place;

        explicit Run(const Tuple& of) {
            const bool is_swapped = of.argument < of.result;
            const std::size_t high = static_cast<std::size_t>(is_swapped ? of.result : of.argument);
            const std::uint64_t low = static_cast<std::uint64_t>(is_swapped ? of.argument : of.result);
            run = mixed(low << 32 | static_cast<std::uint64_t>(of.sort) << 1 | is_swapped, high / Slots::kRun);
            place = high % Slots::kRun;
        }
    };

    const int& place_of(const Tuple& of) const {
        const Run where(of);
        return slots_.first(where.run, where.place);
    }

    int& at(const Tuple& of) {
        const Run where(of);
        return slots_.at(where.run, where.place, [this, &of](int i) {
            const Tuple& known = tuples_[static_cast<std::size_t>(i)];
            return known.argument == of.argument && known.result == of.result && known.sort == of.sort;
        });
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < tuples_.size(); ++i) {
            if (i + kAhead < tuples_.size()) fetched(&place_of(tuples_[i + kAhead]));
            const Run where(tuples_[i]);
            slots_.at(where.run, where.place, [](int) { return false; }) = static_cast<int>(i);
        }
    }

    Slots slots_;
    std::vector<Tuple> tuples_;
};

}  // namespace themis
