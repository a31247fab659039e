// Depth first: the native twin of depth.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "guide.hpp"
#include "window.hpp"

namespace themis {

class DepthSearch : public Search {
public:
    int deepest = -1;
    bool forgot = false;
};

// The configurations that failed; one that is dominated by one of them fails too (rule 4).
template <int W>
class Failed {
public:
    explicit Failed(std::size_t classes) : classes_(classes), heads_(kBucketsMin, -1) {}

    std::size_t size() const { return items_.size(); }

    void clear() {
        std::vector<Item>().swap(items_);
        std::vector<int>().swap(used_);
        std::vector<int>(kBucketsMin, -1).swap(heads_);
    }

    bool dominates(int k, const Mask<W>& updates, const Mask<W>& pures, int state, const std::vector<int>& used) const {
        for (int i = heads_[bucket(k, updates, state)]; i >= 0; i = items_[at(i)].next) {
            const Item& item = items_[at(i)];
            if (item.k == k && item.state == state && item.updates == updates && pures.is_subset_of(item.pures) &&
                std::equal(used.begin(), used.end(), used_.begin() + static_cast<std::ptrdiff_t>(at(i) * classes_),
                           [](int mine, int theirs) { return mine >= theirs; })) {
                return true;
            }
        }
        return false;
    }

    void insert(int k, const Mask<W>& updates, const Mask<W>& pures, int state, const std::vector<int>& used) {
        if (items_.size() == heads_.size()) grow();
        int& head = heads_[bucket(k, updates, state)];
        items_.push_back({k, state, head, updates, pures});
        head = static_cast<int>(items_.size()) - 1;
        used_.insert(used_.end(), used.begin(), used.end());
    }

private:
    struct Item {
        int k, state, next;
        Mask<W> updates, pures;
    };
    static constexpr std::size_t kBucketsMin = 1024;

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }

    std::size_t bucket(int k, const Mask<W>& updates, int state) const {
        const auto seed = static_cast<std::uint64_t>(k) << 32 | static_cast<std::uint32_t>(state);
        return mixed(mixed(0x9e3779b97f4a7c15ULL, seed), updates) & (heads_.size() - 1);
    }

    void grow() {
        heads_.assign(heads_.size() * 2, -1);
        for (std::size_t i = 0; i < items_.size(); ++i) {
            int& head = heads_[bucket(items_[i].k, items_[i].updates, items_[i].state)];
            items_[i].next = head;
            head = static_cast<int>(i);
        }
    }

    std::size_t classes_;
    std::vector<int> heads_;
    std::vector<Item> items_;
    std::vector<int> used_;
};

template <int W>
class Depth final : public DepthSearch {
public:
    // guide, goal: as depth.py; no guide: nullptr.
    Depth(const Problem& problem, std::size_t memory_max, Guide* guide, int goal)
        : problem_(problem), memory_max_(memory_max), guide_(guide), goal_(goal < 0 ? problem.size : goal), failed_(problem.class_op.size()), window_(problem),
          used_(problem.class_op.size(), 0) {
        Frame first;
        if (problem.size) window_.add_legal(first.pures, first.state);
        settle(first);
        push(first);
    }

    Outcome run(std::int64_t until) override {
        while (!frames_.empty()) {
            if (frames_.back().k >= goal_) return Outcome::found;
            if (explored >= until) return Outcome::running;
            if (!descend()) retreat();
        }
        return Outcome::exhausted;
    }

    std::vector<int> linearization() override {
        std::vector<Step> steps;
        steps.reserve(frames_.size());
        for (std::size_t i = 0; i + 1 < frames_.size(); ++i) steps.push_back(frames_[i].choice);
        return replayed<W>(problem_, steps).linearization;
    }

    std::vector<Seen> sample() override {
        std::vector<Seen> seen;
        for (const auto& [frame, used] : sample_) {
            seen.push_back(decoded<W>(problem_, deepest, frame.updates, frame.pures, frame.state, used));
        }
        return seen;
    }

private:
    static constexpr int kNothing = INT32_MIN;

    // A configuration, and the choice tried last there.
    struct Frame {
        int k = 0, state = 0;
        Mask<W> updates, pures;
        Step choice{kNothing, 0};
    };

    static std::size_t at(int index) { return static_cast<std::size_t>(index); }

    bool descend() {
        Frame& top = frames_.back();
        while (next_choice(top)) {
            ++explored;
            Frame child;
            child.k = top.k;
            child.state = top.choice.state;
            child.updates = top.updates;
            child.pures = top.pures;
            if (top.choice.number >= 0) {
                child.updates.add(problem_.slot[at(top.choice.number)]);
            } else {
                ++used_[at(~top.choice.number)];
            }
            if (guide_ && guide_->is_dead_end(window_, child.updates, child.pures, child.state, goal_ - 1)) {
                if (top.choice.number < 0) --used_[at(~top.choice.number)];
                continue;
            }
            window_.add_legal(child.pures, child.state);
            settle(child);
            if (!failed_.dominates(child.k, child.updates, child.pures, child.state, used_)) {
                push(child);
                return true;
            }
            back_to(top.k);
            if (top.choice.number < 0) --used_[at(~top.choice.number)];
        }
        return false;
    }

    bool next_choice(Frame& frame) {
        Table& table = problem_.table;
        const int last = frame.choice.number;
        if (last != kNothing) {
            const Following after = table.following(frame.state, last >= 0 ? problem_.op[at(last)] : problem_.class_op[at(~last)]);
            int later = 0;
            while (after[later] != frame.choice.state) ++later;
            for (++later; later < after.size(); ++later) {
                if (last >= 0 || after[later] != frame.state) {
                    frame.choice.state = after[later];
                    return true;
                }
            }
        }
        if (last == kNothing || last >= 0) {
            window_.candidates(frame.updates, found_);
            for (int number : found_) {
                if (last != kNothing && number <= last) continue;
                const Following after = table.following(frame.state, problem_.op[at(number)]);
                if (after.size()) {
                    frame.choice = {number, after[0]};
                    return true;
                }
            }
        }
        if (used_.empty()) return false;
        const int first_class = last == kNothing || last >= 0 ? 0 : ~last + 1;
        window_.usable(frame.updates, found_);
        for (int crashed : found_) {
            if (crashed < first_class || used_[at(crashed)] >= window_.available[at(crashed)]) continue;
            const Following after = table.following(frame.state, problem_.class_op[at(crashed)]);
            for (int i = 0; i < after.size(); ++i) {
                if (after[i] != frame.state) {
                    frame.choice = {~crashed, after[i]};
                    return true;
                }
            }
        }
        return false;
    }

    void settle(Frame& frame) {
        while (window_.k < problem_.size && window_.is_done(frame.updates, frame.pures)) {
            window_.close(frame.updates, frame.pures);
            window_.forward();
            window_.add_legal_since(frame.pures, frame.state);
        }
        frame.k = window_.k;
    }

    void push(const Frame& frame) {
        if (frame.k > deepest) {
            deepest = frame.k;
            sample_.clear();
        }
        if (frame.k == deepest && sample_.size() < kSampleSize) sample_.emplace_back(frame, used_);
        frames_.push_back(frame);
    }

    void retreat() {
        const Frame failed = frames_.back();
        frames_.pop_back();
        if (failed_.size() >= memory_max_) {
            failed_.clear();
            forgot = true;
        }
        failed_.insert(failed.k, failed.updates, failed.pures, failed.state, used_);
        if (frames_.empty()) return;
        back_to(frames_.back().k);
        const int number = frames_.back().choice.number;
        if (number < 0) --used_[at(~number)];
    }

    void back_to(int k) {
        while (window_.k > k) window_.backward();
    }

    const Problem& problem_;
    std::size_t memory_max_;
    Guide* guide_;
    int goal_;
    Failed<W> failed_;
    Window<W> window_;
    std::vector<int> used_, found_;
    std::vector<Frame> frames_;
    std::vector<std::pair<Frame, std::vector<int>>> sample_;
};

}  // namespace themis
