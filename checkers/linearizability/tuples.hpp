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

// Has the line of memory in the cache when its turn comes. A function that does nothing else has no effect for GCC, which leaves calls
// of it out; the empty assembly is one that it must keep.
inline void fetched(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address);
    __asm__ volatile("" : : "r"(address));
#else
    (void)address;
#endif
}

inline std::uint64_t mixed(std::uint64_t hash, std::uint64_t part) {
    hash = (hash ^ part) * 0xff51afd7ed558ccdULL;
    return hash ^ (hash >> 32);
}

// How many slots in a row one run has.
constexpr std::size_t kRun = 16;

// How far ahead of a rehashing its slots are fetched into the cache.
constexpr std::size_t kAhead = 16;

// The first of size slots to look at. run: equal for keys that shall be neighbours.
inline std::size_t first_slot(std::uint64_t run, std::size_t place, std::size_t size) {
    return (mixed(0x9e3779b97f4a7c15ULL, run) * kRun + place % kRun) & (size - 1);
}

// Slots of small numbers, -1 where empty.
class Slots {
public:
    Slots() : slots_(kSlotsMin, -1) {}

    // The slot of the number for which is_it holds, or the empty one where it belongs.
    // Where two runs meet, a key of the second steps over the first one's; the step is odd, so it comes to every slot.
    template <class IsIt>
    int& at(std::uint64_t run, std::size_t place, IsIt is_it) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = first_slot(run, place, slots_.size());
        while (slots_[at] >= 0 && !is_it(slots_[at])) at = (at + kRun + 1) & mask;
        return slots_[at];
    }

    // The first slot that `at` looks into.
    const int& first(std::uint64_t run, std::size_t place) const { return slots_[first_slot(run, place, slots_.size())]; }

    bool is_full(std::size_t count) const { return 2 * count >= slots_.size(); }

    void clear_and_grow() { slots_.assign(slots_.size() * 2, -1); }

private:
    static constexpr std::size_t kSlotsMin = 1024;

    std::vector<int> slots_;
};

// The numbers of integers are the caller's. Integers from 0 on that are not far above their count have a table of their own, in which a
// look needs one line of memory, and the lines of neighbours are neighbours. The others are hashed; the slots hold the integers
// themselves, and those of one line are all tried before the next line is, so that a look there mostly needs one line as well.
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
        if (2 * hashed_count_ >= kLine * lines_.size()) grow();
        Known& slot = slot_of(integer);
        if (slot.number >= 0) return slot.number;
        slot.integer = integer;
        ++hashed_count_;
        return add(slot.number, next);
    }

    // Has the integer's line in the cache when its turn comes.
    void fetch(std::int64_t integer) const {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        if (bits < direct_.size()) {
            fetched(&direct_[static_cast<std::size_t>(bits)]);
        } else if (!lines_.empty()) {
            fetched(&lines_[first_line(bits)]);
        }
    }

private:
    static constexpr std::size_t kSpread = 8;
    static constexpr std::size_t kLine = 4;
    static constexpr std::size_t kLinesMin = 64;

    // number: -1 where the slot is empty.
    struct Known {
        std::int64_t integer = 0;
        int number = -1;
    };
    struct alignas(64) Line {
        Known slots[kLine];
    };

    int add(int& place, int number) {
        place = number;
        ++count_;
        return -1;
    }

    std::size_t first_line(std::uint64_t bits) const { return first_slot(bits / kRun, bits % kRun, kLine * lines_.size()) / kLine; }

    // The slot of the integer, or the empty one where it belongs. The step is odd, so it comes to every line.
    Known& slot_of(std::int64_t integer) {
        const std::uint64_t bits = static_cast<std::uint64_t>(integer);
        for (std::size_t at = first_line(bits);; at = (at + kRun / kLine + 1) & (lines_.size() - 1)) {
            for (std::size_t i = 0; i < kLine; ++i) {
                Known& slot = lines_[at].slots[(bits + i) % kLine];
                if (slot.number < 0 || slot.integer == integer) return slot;
            }
        }
    }

    void grow() {
        std::vector<Line> before(std::max(kLinesMin, 2 * lines_.size()));
        before.swap(lines_);
        for (std::size_t at = 0; at < before.size(); ++at) {
            for (std::size_t i = 0; i < kLine; ++i) {
                if (at + kAhead < before.size()) fetch(before[at + kAhead].slots[i].integer);
                const Known& each = before[at].slots[i];
                if (each.number >= 0) slot_of(each.integer) = each;
            }
        }
    }

    // Those that were hashed before stay in their slots, where nobody looks for them any more.
    void widen(std::size_t size_min) {
        direct_.resize(std::max(size_min, 2 * direct_.size()), -1);
        for (const Line& line : lines_) {
            for (const Known& each : line.slots) {
                const std::uint64_t bits = static_cast<std::uint64_t>(each.integer);
                if (each.number >= 0 && bits < direct_.size()) direct_[static_cast<std::size_t>(bits)] = each.number;
            }
        }
    }

    std::vector<int> direct_;
    std::size_t count_ = 0;
    std::size_t hashed_count_ = 0;
    std::vector<Line> lines_;
};

// Tuples whose lower value and sort are the same make a group: all that enqueue a value, all looks at a value that found it there. In
// histories there are few groups, and each names most of the higher values. So the first groups have a table each, in which a look
// needs one line of memory and compares nothing; what is in no table is hashed.
class Numbered {
public:
    struct Tuple {
        int sort, argument, result;
    };

    // The number of a tuple; a new one is size() - 1. sort: what the tuple says beside the two values.
    int number(int sort, int argument, int result) {
        const Tuple asked{sort, argument, result};
        const Place where(asked);
        Group* group = group_of(where.group);
        if (group == nullptr && groups_.size() < kGroupsMax) group = add_group(where.group);
        if (group != nullptr) {
            if (where.high >= group->by_high.size() && where.high < kSpread * (group->count + kSpread)) widen(*group, where.high + 1);
            if (where.high < group->by_high.size()) {
                int& found = group->by_high[where.high];
                if (found < 0) {
                    found = add(asked);
                    ++group->count;
                }
                return found;
            }
        }
        if (slots_.is_full(hashed_.size())) grow();
        int& slot = at(asked, where);
        if (slot < 0) {
            slot = add(asked);
            hashed_.push_back(slot);
            if (group != nullptr) {
                group->hashed.push_back(slot);
                ++group->count;
            }
        }
        return slot;
    }

    int size() const { return static_cast<int>(tuples_.size()); }

    // By number.
    const std::vector<Tuple>& tuples() const { return tuples_; }

    // Have the place where the tuple is looked up in the cache when its turn comes; and, once that is there, what it leads to.
    void fetch_slot(int sort, int argument, int result) const {
        const Place where({sort, argument, result});
        const Group* group = group_of(where.group);
        if (group != nullptr && where.high < group->by_high.size()) {
            fetched(&group->by_high[where.high]);
        } else {
            fetched(&slots_.first(where.run(), where.high % kRun));
        }
    }
    void fetch_tuple(int sort, int argument, int result) const {
        if (hashed_.empty()) return;
        const Place where({sort, argument, result});
        const Group* group = group_of(where.group);
        if (group != nullptr && where.high < group->by_high.size()) return;
        const int found = slots_.first(where.run(), where.high % kRun);
        if (found >= 0) fetched(&tuples_[static_cast<std::size_t>(found)]);
    }

private:
    static constexpr std::size_t kGroupsMax = 32;
    static constexpr std::size_t kSpread = 16;  // A table is at most so many times as long as what is in it.
    static constexpr std::size_t kNamesMask = 4 * kGroupsMax - 1;

    // The higher of two values is mostly the newer one.
    struct Place {
        std::uint64_t group;
        std::size_t high;

        explicit Place(const Tuple& of) {
            const bool is_swapped = of.argument < of.result;
            const std::uint64_t low = static_cast<std::uint64_t>(is_swapped ? of.argument : of.result);
            high = static_cast<std::size_t>(is_swapped ? of.result : of.argument);
            group = low << 32 | static_cast<std::uint64_t>(of.sort) << 1 | is_swapped;
        }

        std::uint64_t run() const { return mixed(group, high / kRun); }
    };

    struct Group {
        std::uint64_t name;
        std::size_t count;         // With those that are hashed.
        std::vector<int> by_high;  // Higher value to number.
        std::vector<int> hashed;
    };

    const Group* group_of(std::uint64_t name) const {
        for (std::size_t at = mixed(0, name);; ++at) {
            const int found = names_[at & kNamesMask];
            if (found < 0) return nullptr;
            if (groups_[static_cast<std::size_t>(found)].name == name) return &groups_[static_cast<std::size_t>(found)];
        }
    }
    Group* group_of(std::uint64_t name) { return const_cast<Group*>(static_cast<const Numbered*>(this)->group_of(name)); }

    Group* add_group(std::uint64_t name) {
        std::size_t at = mixed(0, name);
        while (names_[at & kNamesMask] >= 0) ++at;
        names_[at & kNamesMask] = static_cast<int>(groups_.size());
        groups_.push_back({name, 0, {}, {}});
        return &groups_.back();
    }

    // Those that were hashed before stay in their slots, where nobody looks for them any more.
    void widen(Group& group, std::size_t size_min) {
        group.by_high.resize(std::max(size_min, 2 * group.by_high.size()), -1);
        for (int number : group.hashed) {
            const Place where(tuples_[static_cast<std::size_t>(number)]);
            if (where.high < group.by_high.size()) group.by_high[where.high] = number;
        }
    }

    int add(const Tuple& tuple) {
        tuples_.push_back(tuple);
        return size() - 1;
    }

    int& at(const Tuple& of, const Place& where) {
        return slots_.at(where.run(), where.high % kRun, [this, &of](int i) {
            const Tuple& known = tuples_[static_cast<std::size_t>(i)];
            return known.argument == of.argument && known.result == of.result && known.sort == of.sort;
        });
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < hashed_.size(); ++i) {
            if (i + kAhead < hashed_.size()) {
                const Place ahead(tuples_[static_cast<std::size_t>(hashed_[i + kAhead])]);
                fetched(&slots_.first(ahead.run(), ahead.high % kRun));
            }
            const Place where(tuples_[static_cast<std::size_t>(hashed_[i])]);
            slots_.at(where.run(), where.high % kRun, [](int) { return false; }) = hashed_[i];
        }
    }

    std::vector<int> names_ = std::vector<int>(kNamesMask + 1, -1);  // Of groups, by their hash.
    std::vector<Group> groups_;
    Slots slots_;
    std::vector<int> hashed_;
    std::vector<Tuple> tuples_;
};

}  // namespace themis
