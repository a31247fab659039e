// One key's numbers for the values of a history: many keys may share these.
#pragma once

#include <cstddef>
#include <vector>

#include "../tuples.hpp"

namespace themis {

class Renumber {
public:
    Renumber() = default;

    // given_count: how many numbers there are. entry_count: how often one may be asked for.
    Renumber(std::size_t given_count, std::size_t entry_count) : is_dense_(given_count <= 8 * entry_count + 64) {
        if (is_dense_) ours_.assign(given_count, -1);
    }

    // In order of first appearance; a new one is size() - 1.
    int number(int given) {
        if (!is_dense_) {
            const int found = few_.number(given, size());
            if (found >= 0) return found;
        } else if (ours_[static_cast<std::size_t>(given)] >= 0) {
            return ours_[static_cast<std::size_t>(given)];
        } else {
            ours_[static_cast<std::size_t>(given)] = size();
        }
        given_.push_back(given);
        return size() - 1;
    }

    // Has what `number` looks at in the cache when its turn comes.
    void fetch(int given) const {
        if (is_dense_) fetched(&ours_[static_cast<std::size_t>(given)]);
    }

    int size() const { return static_cast<int>(given_.size()); }

    int given(int ours) const { return given_[static_cast<std::size_t>(ours)]; }

private:
    bool is_dense_ = true;
    std::vector<int> ours_, given_;
    Integers few_;
};

}  // namespace themis
