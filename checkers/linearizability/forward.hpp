// Forward, return event by return event: the native twin of forward.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "window.hpp"

namespace themis {

class ForwardSearch : public Search {
public:
    int reached = 0, bound = 0, restarts = 0;
    std::size_t widest = 0;
    bool is_refuted = false;
};

// Paths as chains of steps that configurations share; a node is freed with the last configuration that came through it.
class Paths {
public:
    static constexpr int kNone = -1;

    int extended(int parent, Step step) {
        keep(parent);
        const Node node{step, parent, 1};
        if (free_ == kNone) {
            nodes_.push_back(node);
            return static_cast<int>(nodes_.size()) - 1;
        }
        const int place = free_;
        free_ = nodes_[at(place)].parent;
        nodes_[at(place)] = node;
        return place;
    }

    void keep(int place) {
        if (place != kNone) ++nodes_[at(place)].references;
    }

    void drop(int place) {
        while (place != kNone && --nodes_[at(place)].references == 0) {
            const int parent = nodes_[at(place)].parent;
            nodes_[at(place)].parent = free_;
            free_ = place;
            place = parent;
        }
    }

    std::vector<Step> steps(int place) const {
        std::vector<Step> found;
        for (; place != kNone; place = nodes_[at(place)].parent) found.push_back(nodes_[at(place)].step);
        std::reverse(found.begin(), found.end());
        return found;
    }

private:
    struct Node {
        Step step;
        int parent, references;
    };

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }

    std::vector<Node> nodes_;
    int free_ = kNone;
};

template <int W>
class Forward final : public ForwardSearch {
public:
    Forward(const Problem& problem, std::size_t width_max)
        : problem_(problem), width_max_(width_max), place_of_(problem.class_op.size(), -1), prices_(problem.class_op.size(), 1),
          window_(problem) {
        bound = problem.size;
        start();
    }

    Outcome run(std::int64_t until) override {
        while (true) {
            if (window_.k == bound) {
                const Outcome outcome = judge();
                if (outcome != Outcome::running) return outcome;
            } else if (explored >= until) {
                return Outcome::running;
            } else if (work_.live + next_.live > width_max_) {
                return Outcome::gave_up;
            } else if (!advance_one() && !finish_event()) {
                is_refuted = true;
                bound = window_.k;
            }
        }
    }

    std::vector<int> linearization() override { return linearization_; }

    std::vector<Seen> sample() override {
        std::vector<Seen> seen;
        for (const auto& [snapshot, used] : sample_) {
            seen.push_back(decoded<W>(problem_, bound, snapshot.updates, snapshot.pures, snapshot.state, used));
        }
        return seen;
    }

private:
    struct Configuration {
        Mask<W> updates, pures;
        std::int64_t cost = 0;
        int state = 0, node = Paths::kNone, link = -1;
        bool is_alive = true, is_entering = true;
    };

    // Configurations in order of arrival, with the counts of each; the antichain is over those that were inserted.
    struct Chain {
        std::vector<Configuration> items;
        std::vector<int> counts;      // counted classes, for each item
        std::vector<int> members;     // places of those alive, while they are few
        std::vector<int> heads;       // places by hash, once they are many
        std::size_t live = 0;

        void clear() {
            items.clear();
            counts.clear();
            members.clear();
            heads.clear();
            live = 0;
        }
    };

    static constexpr std::size_t kFew = 12;
    static constexpr int kRaisesMax = 3, kPriceMax = 100;  // As forward.py.

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }

    static std::size_t bucket(const Chain& chain, const Configuration& item) {
        return mixed(mixed(0x9e3779b97f4a7c15ULL, static_cast<std::uint64_t>(item.state)), item.updates) &
               (chain.heads.size() - 1);
    }

    bool fewer(const int* mine, const int* theirs) const {
        return std::equal(mine, mine + counted_.size(), theirs, [](int a, int b) { return a <= b; });
    }

    std::size_t level_of(const Configuration& item) const { return static_cast<std::size_t>(item.cost - base_cost_); }

    // Add the chain's last item to the antichain: false when another dominates it, and dead are those that it
    // dominates.
    bool insert_last(Chain& chain) {
        const std::size_t width = counted_.size();
        const int place = static_cast<int>(chain.items.size()) - 1;
        return insert(chain, place, width);
    }

    bool insert(Chain& chain, int place, std::size_t width) {
        Configuration& item = chain.items[at(place)];
        const int* counts = chain.counts.data() + at(place) * width;
        const auto is_rival = [&](const Configuration& other) {
            return other.state == item.state && other.updates == item.updates;
        };
        const auto loses_to = [&](int other) {
            return chain.items[at(other)].cost <= item.cost && item.pures.is_subset_of(chain.items[at(other)].pures) &&
                   fewer(chain.counts.data() + at(other) * width, counts);
        };
        const auto beats = [&](int other) {
            return item.cost <= chain.items[at(other)].cost && chain.items[at(other)].pures.is_subset_of(item.pures) &&
                   fewer(counts, chain.counts.data() + at(other) * width);
        };
        if (chain.heads.empty()) {
            for (int other : chain.members) {
                if (is_rival(chain.items[at(other)]) && loses_to(other)) return false;
            }
            std::size_t kept = 0;
            for (std::size_t i = 0; i < chain.members.size(); ++i) {
                const int other = chain.members[i];
                if (is_rival(chain.items[at(other)]) && beats(other)) {
                    kill(chain, other);
                } else {
                    chain.members[kept++] = other;
                }
            }
            chain.members.resize(kept);
            chain.members.push_back(place);
            ++chain.live;
            if (chain.members.size() > kFew) hash(chain, kFew * 4);
            return true;
        }
        int* link = &chain.heads[bucket(chain, item)];
        for (int other = *link; other >= 0; other = chain.items[at(other)].link) {
            if (is_rival(chain.items[at(other)]) && loses_to(other)) return false;
        }
        while (*link >= 0) {
            const int other = *link;
            if (is_rival(chain.items[at(other)]) && beats(other)) {
                kill(chain, other);
                *link = chain.items[at(other)].link;
            } else {
                link = &chain.items[at(other)].link;
            }
        }
        int& head = chain.heads[bucket(chain, item)];
        item.link = head;
        head = place;
        chain.members.push_back(place);
        if (++chain.live > chain.heads.size()) hash(chain, chain.heads.size() * 4);
        return true;
    }

    void kill(Chain& chain, int place) {
        chain.items[at(place)].is_alive = false;
        --chain.live;
    }

    void hash(Chain& chain, std::size_t buckets) {
        std::size_t power = 64;
        while (power < buckets) power *= 2;
        chain.heads.assign(power, -1);
        std::size_t kept = 0;
        for (int place : chain.members) {
            Configuration& item = chain.items[at(place)];
            if (!item.is_alive) continue;
            int& head = chain.heads[bucket(chain, item)];
            item.link = head;
            head = place;
            chain.members[kept++] = place;
        }
        chain.members.resize(kept);
    }

    void start() {
        drop_all(work_);
        drop_all(next_);
        window_ = Window<W>(problem_);
        Configuration first;
        window_.add_legal(first.pures, first.state);
        work_.items.push_back(first);
        work_.counts.assign(counted_.size(), 0);
        begin_event();
    }

    void drop_all(Chain& chain) {
        for (const Configuration& item : chain.items) paths_.drop(item.node);
        chain.clear();
    }

    // The chain `work_` holds the configurations that arrive at this event, in order of their costs, and nothing else.
    void begin_event() {
        reached = window_.k;
        cost_max_ = std::inner_product(prices_.begin(), prices_.end(), window_.available.begin(), std::int64_t{0});
        entering_ = static_cast<int>(work_.items.size());
        base_cost_ = work_.items.front().cost;
        const std::size_t levels = level_of(work_.items.back()) + 1;
        for (auto& level : levels_) level.clear();
        if (levels_.size() < levels) levels_.resize(levels);
        for (int i = 0; i < entering_; ++i) levels_[level_of(work_.items[at(i)])].push_back(i);
        level_ = 0;
        position_ = 0;
    }

    bool advance_one() {
        while (level_ < levels_.size() && position_ == levels_[level_].size()) {
            ++level_;
            position_ = 0;
        }
        if (level_ >= levels_.size()) return false;
        const int place = levels_[level_][position_++];
        const Configuration& item = work_.items[at(place)];
        if (!item.is_alive) return true;
        if (window_.is_done(item.updates, item.pures)) {
            ++explored;
            paths_.keep(item.node);
            pass(item, place);
        } else if (!item.is_entering || insert(work_, place, counted_.size())) {
            expand(place);
        }
        return true;
    }

    // The operation that returns is linearized: on to the next event. Takes over the caller's hold on the path.
    void pass(const Configuration& done, int place) {
        next_.items.push_back(done);
        Configuration& item = next_.items.back();
        window_.close(item.updates, item.pures);
        item.is_alive = item.is_entering = true;
        item.link = -1;
        copy_counts(work_, place, next_);
        if (!insert_last(next_)) remove_last(next_);
    }

    void copy_counts(const Chain& from, int place, Chain& to) {
        const std::size_t width = counted_.size();
        for (std::size_t i = 0; i < width; ++i) to.counts.push_back(from.counts[at(place) * width + i]);
    }

    void remove_last(Chain& chain) {
        paths_.drop(chain.items.back().node);
        chain.items.pop_back();
        chain.counts.resize(chain.counts.size() - counted_.size());
    }

    void expand(int parent) {
        const Mask<W> updates = work_.items[at(parent)].updates;
        const int state = work_.items[at(parent)].state;
        window_.candidates(updates, found_);
        for (int number : found_) {
            const Following after = problem_.table.following(state, problem_.op[at(number)]);
            for (int i = 0; i < after.size(); ++i) add(parent, {number, after[i]}, -1);
        }
        if (problem_.class_op.empty()) return;
        window_.usable(updates, found_);
        for (int crashed : found_) {
            const int place = place_of_[at(crashed)];
            if (place >= 0 && work_.counts[at(parent) * counted_.size() + at(place)] == window_.available[at(crashed)]) {
                continue;
            }
            const Following after = problem_.table.following(state, problem_.class_op[at(crashed)]);
            for (int i = 0; i < after.size(); ++i) {
                if (after[i] != state) add(parent, {~crashed, after[i]}, place);
            }
        }
    }

    void add(int parent, Step step, int counted_place) {
        ++explored;
        Configuration child = work_.items[at(parent)];
        child.state = step.state;
        child.is_alive = true;
        child.link = -1;
        if (step.number >= 0) {
            child.updates.add(problem_.slot[at(step.number)]);
        } else {
            child.cost += prices_[at(~step.number)];
            if (child.cost > cost_max_) return;
        }
        window_.add_legal(child.pures, child.state);
        child.node = paths_.extended(child.node, step);
        child.is_entering = false;
        work_.items.push_back(child);
        copy_counts(work_, parent, work_);
        const int place = static_cast<int>(work_.items.size()) - 1;
        if (counted_place >= 0) ++work_.counts[at(place) * counted_.size() + at(counted_place)];
        const bool is_done = window_.is_done(child.updates, child.pures);
        if (is_done && step.number >= 0) {
            pass(child, place);
            work_.items.pop_back();
            work_.counts.resize(work_.counts.size() - counted_.size());
        } else if (is_done || insert_last(work_)) {  // A crashed one passes when those of its cost do.
            const std::size_t level = level_of(child);
            if (levels_.size() <= level) levels_.resize(level + 1);
            levels_[level].push_back(place);
        } else {
            remove_last(work_);
        }
    }

    bool finish_event() {
        widest = std::max(widest, next_.live);
        if (next_.live == 0) return false;
        drop_all(work_);
        window_.forward();
        const std::size_t width = counted_.size();
        for (std::size_t i = 0; i < next_.items.size(); ++i) {
            Configuration& item = next_.items[i];
            if (!item.is_alive) {
                paths_.drop(item.node);
                continue;
            }
            window_.add_legal_since(item.pures, item.state);
            item.link = -1;
            work_.items.push_back(item);
            const auto first = next_.counts.begin() + static_cast<std::ptrdiff_t>(i * width);
            work_.counts.insert(work_.counts.end(), first, first + static_cast<std::ptrdiff_t>(width));
        }
        next_.clear();
        begin_event();
        return true;
    }

    Outcome judge() {
        std::vector<int> overdrawn;
        for (int i = 0; i < std::min(entering_, kSampleSize); ++i) {
            const Configuration& survivor = work_.items[at(i)];
            Path path = replayed<W>(problem_, paths_.steps(survivor.node));
            if (!path.overdrawn.empty()) {
                if (overdrawn.empty()) overdrawn = path.overdrawn;
            } else if (is_refuted) {
                sample_.emplace_back(survivor, path.used);
            } else {
                linearization_ = std::move(path.linearization);
                return Outcome::found;
            }
        }
        if (!sample_.empty()) return Outcome::exhausted;
        for (int crashed : overdrawn) {
            if (raises_ < kRaisesMax) {
                int& price = prices_[at(crashed)];
                price = std::min(price + 1 + price / 2, kPriceMax);
            } else {
                place_of_[at(crashed)] = static_cast<int>(counted_.size());
                counted_.push_back(crashed);
            }
        }
        raises_ = raises_ < kRaisesMax ? raises_ + 1 : 0;
        ++restarts;
        start();
        return Outcome::running;
    }

    const Problem& problem_;
    std::size_t width_max_;
    std::vector<int> counted_, place_of_, prices_;
    Window<W> window_;
    Paths paths_;
    Chain work_, next_;
    std::vector<std::vector<int>> levels_;
    std::size_t level_ = 0, position_ = 0;
    std::int64_t base_cost_ = 0, cost_max_ = 0;
    int entering_ = 0, raises_ = 0;
    std::vector<int> found_, linearization_;
    std::vector<std::pair<Configuration, std::vector<int>>> sample_;
};

}  // namespace themis
