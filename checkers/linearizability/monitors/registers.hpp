// The native twin of register._Register, whose names, order and proofs hold. What it leaves open is for the pure one to say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "blocks.hpp"

namespace themis {

class Registers {
public:
    // call, ret: int32[n]. The initial value has the number 0.
    Registers(const int* call, const int* ret, std::size_t size) : call_(call), ret_(ret), old_(size, -1), new_(size, -1) {}

    // Whether a value that somebody names has more than one writer: it is not decided here, whatever else is added.
    bool is_repeated() const { return is_repeated_; }

    void read(int entry, int value) {
        reads_.emplace_back(entry, value);
        name(value);
    }

    void free(int entry) { free_.push_back(entry); }

    void write(int entry, int value) {
        know(value);
        writer_[at(value)] = entry;
        ++writer_count_[at(value)];
        look(value);
        new_[at(entry)] = value;
        written_.push_back(entry);
    }

    void cas(int entry, int old, int value) {
        old_[at(entry)] = old;
        olds_.push_back(entry);
        name(old);
        write(entry, value);
    }

    // Whether it is decided. order: the linearization; core: empty where there is one.
    bool decide(std::vector<int>& order, std::vector<int>& core) {
        if (is_repeated_) return false;
        know(0);
        next_cas_.assign(writer_.size(), -1);
        phase_of_.assign(writer_.size(), -1);
        demand_.assign(old_.size(), -1);
        if (!let_crashed_take_effect(core) || !link(core)) return true;
        lay_out(core);
        if (!core.empty()) return true;
        const int block_count = static_cast<int>(begin_.size()) - 1;
        const Blocks blocks{call_, ret_, writers_.data(), begin_.data(), block_count, read_.data(), read_begin_.data()};
        Arranged arranged;
        arrange(blocks, arranged);
        if (!arranged.conflict.empty()) {
            for (std::size_t i = 0; i + 1 < arranged.conflict.size(); i += 2) {
                add_demanding(arranged.conflict[i], core);
                add_before(arranged.conflict[i + 1], core);
            }
        } else if (free_.empty()) {
            order.swap(arranged.order);
        } else {
            with_free(arranged, order);
        }
        return true;
    }

private:
    static constexpr int kNever = std::numeric_limits<int>::max();

    static std::size_t at(int number) { return static_cast<std::size_t>(number); }

    void know(int value) {
        if (at(value) < writer_.size()) return;
        writer_.resize(at(value) + 1, -1);
        writer_count_.resize(at(value) + 1, 0);
        is_named_.resize(at(value) + 1, 0);
    }

    void name(int value) {
        know(value);
        is_named_[at(value)] = 1;
        look(value);
    }

    void look(int value) {
        is_repeated_ = is_repeated_ || (is_named_[at(value)] && writer_count_[at(value)] + (value == 0) > 1);
    }

    bool is_crashed(int entry) const { return ret_[entry] == kNever; }
    bool takes_effect(int entry) const { return !is_crashed(entry) || demand_[at(entry)] >= 0; }

    // False, with the core, where nobody wrote what was seen.
    bool let_crashed_take_effect(std::vector<int>& core) {
        std::vector<std::pair<int, int>> todo(reads_);
        for (int entry : olds_) {
            if (!is_crashed(entry)) todo.emplace_back(entry, old_[at(entry)]);
        }
        while (!todo.empty()) {
            const auto [by, value] = todo.back();
            todo.pop_back();
            if (value == 0) continue;
            const int writer = writer_[at(value)];
            if (writer < 0) {
                add_demanding(by, core);
                return false;
            }
            if (is_crashed(writer) && demand_[at(writer)] < 0) {
                demand_[at(writer)] = by;
                if (old_[at(writer)] >= 0) todo.emplace_back(writer, old_[at(writer)]);
            }
        }
        return true;
    }

    void add_demanding(int entry, std::vector<int>& core) const {
        for (; entry >= 0; entry = demand_[at(entry)]) core.push_back(entry);
    }

    // Each value's cas. False, with the core, where it has two.
    bool link(std::vector<int>& core) {
        for (int entry : olds_) {
            if (!takes_effect(entry)) continue;
            int& other = next_cas_[at(old_[at(entry)])];
            if (other >= 0) {
                add_demanding(other, core);
                add_demanding(entry, core);
                add_history_of(old_[at(entry)], core);
                return false;
            }
            other = entry;
            ++linked_;
        }
        return true;
    }

    // The writers from the beginning of the block to the value, and why the crashed ones of them took effect.
    void add_history_of(int value, std::vector<int>& core) const {
        std::vector<int> found;
        while (value != 0) {
            const int writer = writer_[at(value)];
            if (std::find(found.begin(), found.end(), writer) != found.end()) break;
            add_demanding(writer, found);
            if (old_[at(writer)] < 0) break;
            value = old_[at(writer)];
        }
        core.insert(core.end(), found.begin(), found.end());
    }

    void add_phases(int root, int value) {
        add_phase(root, value);
        for (int follower = next_cas_[at(value)]; follower >= 0; follower = next_cas_[at(new_[at(follower)])]) {
            add_phase(follower, new_[at(follower)]);
        }
        begin_.push_back(static_cast<int>(writers_.size()));
    }

    void add_phase(int writer, int value) {
        if (is_named_[at(value)]) phase_of_[at(value)] = static_cast<int>(writers_.size());
        writers_.push_back(writer);
    }

    // The columns of the blocks; the core, where cas go in a cycle.
    void lay_out(std::vector<int>& core) {
        begin_ = {0};
        writers_.reserve(written_.size() + 1);
        begin_.reserve(written_.size() + 2);
        add_phases(-1, 0);
        for (int entry : written_) {
            if (old_[at(entry)] < 0 && takes_effect(entry)) add_phases(entry, new_[at(entry)]);
        }
        if (writers_.size() - begin_.size() + 1 < linked_) {
            std::vector<char> is_reached(old_.size(), 0);
            for (int writer : writers_) {
                if (writer >= 0) is_reached[at(writer)] = 1;
            }
            for (int entry : olds_) {
                if (is_reached[at(entry)] || !takes_effect(entry)) continue;
                add_demanding(entry, core);
                add_history_of(new_[at(entry)], core);
                return;
            }
        }
        read_begin_.assign(writers_.size() + 1, 0);
        for (const auto& [entry, value] : reads_) ++read_begin_[at(phase_of_[at(value)]) + 1];
        for (std::size_t i = 1; i < read_begin_.size(); ++i) read_begin_[i] += read_begin_[i - 1];
        std::vector<int> filled(read_begin_.begin(), read_begin_.end() - 1);
        read_.resize(reads_.size());
        for (const auto& [entry, value] : reads_) read_[at(filled[at(phase_of_[at(value)])]++)] = entry;
    }

    // The writers of the phase's block up to it, and why the crashed ones of them took effect.
    void add_before(int phase, std::vector<int>& core) const {
        const auto block = std::upper_bound(begin_.begin(), begin_.end(), phase) - begin_.begin() - 1;
        for (int i = begin_[static_cast<std::size_t>(block)]; i <= phase; ++i) {
            if (writers_[at(i)] >= 0) add_demanding(writers_[at(i)], core);
        }
    }

    // The order with the operations that fit anywhere, each before the first that has a moment from its call on.
    void with_free(const Arranged& arranged, std::vector<int>& order) const {
        std::vector<std::tuple<std::ptrdiff_t, int, int>> placed;
        for (int entry : free_) {
            const auto place = std::lower_bound(arranged.moment.begin(), arranged.moment.end(), call_[entry]);
            placed.emplace_back(place - arranged.moment.begin(), call_[entry], entry);
        }
        std::sort(placed.begin(), placed.end());
        std::ptrdiff_t done = 0;
        for (const auto& [place, call, entry] : placed) {
            order.insert(order.end(), arranged.order.begin() + done, arranged.order.begin() + place);
            order.push_back(entry);
            done = place;
        }
        order.insert(order.end(), arranged.order.begin() + done, arranged.order.end());
    }

    const int* call_;
    const int* ret_;
    std::vector<int> writer_, writer_count_;             // By value.
    std::vector<char> is_named_;
    std::vector<int> next_cas_, phase_of_;
    std::vector<int> old_, new_, demand_;                // By entry; -1: none.
    std::vector<int> written_, olds_, free_;             // Entries in order.
    std::vector<std::pair<int, int>> reads_;             // Entry and value.
    std::vector<int> writers_, begin_, read_, read_begin_;
    std::size_t linked_ = 0;
    bool is_repeated_ = false;
};

}  // namespace themis
