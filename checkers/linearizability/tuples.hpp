// Small numbers for tuples of small numbers, in order of first appearance.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace themis {

class Numbered {
public:
    Numbered() : heads_(kBucketsMin, -1) {}

    // The number of a tuple; a new one is size() - 1.
    int number(int f, int argument, int result, int flags) {
        const Key key{f, argument, result, flags};
        for (int i = heads_[bucket(key)]; i >= 0; i = next_[static_cast<std::size_t>(i)]) {
            if (keys_[static_cast<std::size_t>(i)] == key) return i;
        }
        if (keys_.size() == heads_.size()) grow();
        int& head = heads_[bucket(key)];
        keys_.push_back(key);
        next_.push_back(head);
        return head = static_cast<int>(keys_.size()) - 1;
    }

    int size() const { return static_cast<int>(keys_.size()); }

private:
    using Key = std::array<int, 4>;
    static constexpr std::size_t kBucketsMin = 1024;

    std::size_t bucket(const Key& key) const {
        std::uint64_t hash = 0x9e3779b97f4a7c15ULL;
        for (int part : key) {
            hash = (hash ^ static_cast<std::uint32_t>(part)) * 0xff51afd7ed558ccdULL;
            hash ^= hash >> 32;
        }
        return hash & (heads_.size() - 1);
    }

    void grow() {
        heads_.assign(heads_.size() * 2, -1);
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            int& head = heads_[bucket(keys_[i])];
            next_[i] = head;
            head = static_cast<int>(i);
        }
    }

    std::vector<int> heads_, next_;
    std::vector<Key> keys_;
};

}  // namespace themis
