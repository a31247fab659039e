// The native twin of blocks.py, whose names, order and proofs hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace themis {

// The columns of blocks.Blocks.
struct Blocks {
    const int* call;
    const int* ret;
    const int* writer;
    const int* begin;
    int block_count;
    const int* read;
    const int* read_begin;
};

struct Arranged {
    std::vector<int> order, moment, conflict;
};

struct Zone {
    int first_return = std::numeric_limits<int>::max(), returned = -1, returned_phase = -1;
    int last_call = -1, called = -1, called_phase = -1;

    bool is_forward() const { return first_return < last_call; }
    void take(int entry, int phase, int call, int ret) {
        if (ret < first_return) first_return = ret, returned = entry, returned_phase = phase;
        if (call > last_call) last_call = call, called = entry, called_phase = phase;
    }
    void add_ends(std::vector<int>& to) const {
        if (returned >= 0) to.insert(to.end(), {returned, returned_phase});
        if (called >= 0 && called != returned) to.insert(to.end(), {called, called_phase});
    }
};

// False, with the conflict, where two operations of the block contradict each other.
inline bool find_zone(const Blocks& blocks, int block, Zone& zone, std::vector<int>& conflict) {
    for (int phase = blocks.begin[block]; phase < blocks.begin[block + 1]; ++phase) {
        const int writer = blocks.writer[phase];
        if (writer < 0) {
            zone.first_return = -1;
        } else {
            if (blocks.ret[writer] < zone.last_call) {
                conflict = {zone.called, zone.called_phase, writer, phase};
                return false;
            }
            zone.take(writer, phase, blocks.call[writer], blocks.ret[writer]);
        }
        const Zone before = zone;
        for (int place = blocks.read_begin[phase]; place < blocks.read_begin[phase + 1]; ++place) {
            const int read = blocks.read[place];
            if (blocks.ret[read] < before.last_call) {
                conflict = {before.called, before.called_phase, read, phase};
                return false;
            }
            zone.take(read, phase, blocks.call[read], blocks.ret[read]);
        }
    }
    return true;
}

using Places = std::vector<std::pair<long long, int>>;

inline void put_in_order(const Blocks& blocks, const Places& places, Arranged& arranged) {
    int latest = -1;
    const std::size_t most = static_cast<std::size_t>(
        blocks.begin[blocks.block_count] + blocks.read_begin[blocks.begin[blocks.block_count]]);
    arranged.order.reserve(most);
    arranged.moment.reserve(most);
    const auto put = [&](int entry) {
        latest = std::max(latest, blocks.call[entry]);
        arranged.order.push_back(entry);
        arranged.moment.push_back(latest);
    };
    for (const auto& [place, block] : places) {
        latest = std::max(latest, static_cast<int>(place >> 1));
        for (int phase = blocks.begin[block]; phase < blocks.begin[block + 1]; ++phase) {
            if (blocks.writer[phase] >= 0) put(blocks.writer[phase]);
            for (int at = blocks.read_begin[phase]; at < blocks.read_begin[phase + 1]; ++at) put(blocks.read[at]);
        }
    }
}

inline void arrange(const Blocks& blocks, Arranged& arranged) {
    const std::size_t count = static_cast<std::size_t>(blocks.block_count);
    std::vector<Zone> zones(count);
    std::vector<std::pair<int, int>> forward;  // First return and block.
    for (int b = 0; b < blocks.block_count; ++b) {
        Zone& zone = zones[static_cast<std::size_t>(b)];
        if (!find_zone(blocks, b, zone, arranged.conflict)) return;
        if (zone.is_forward()) forward.emplace_back(zone.first_return, b);
    }
    std::sort(forward.begin(), forward.end());
    for (std::size_t i = 1; i < forward.size(); ++i) {
        const Zone& a = zones[static_cast<std::size_t>(forward[i - 1].second)];
        const Zone& b = zones[static_cast<std::size_t>(forward[i].second)];
        if (b.first_return < a.last_call) {
            a.add_ends(arranged.conflict);
            b.add_ends(arranged.conflict);
            return;
        }
    }
    Places places;
    places.reserve(count);
    for (int b = 0; b < blocks.block_count; ++b) {
        const Zone& zone = zones[static_cast<std::size_t>(b)];
        if (zone.is_forward()) {
            places.emplace_back(2LL * zone.first_return + 1, b);
            continue;
        }
        long long moment = zone.last_call;
        const auto around =
            std::lower_bound(forward.begin(), forward.end(), std::make_pair(zone.last_call, std::numeric_limits<int>::min()));
        if (around != forward.begin()) {
            const Zone& other = zones[static_cast<std::size_t>(std::prev(around)->second)];
            if (moment < other.last_call) {
                if (zone.first_return < other.last_call) {
                    other.add_ends(arranged.conflict);
                    zone.add_ends(arranged.conflict);
                    return;
                }
                moment = other.last_call;
            }
        }
        places.emplace_back(2 * moment, b);
    }
    std::sort(places.begin(), places.end());
    put_in_order(blocks, places, arranged);
}

}  // namespace themis
