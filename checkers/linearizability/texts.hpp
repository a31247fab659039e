// Small numbers for Python's texts, in order of first appearance. The interpreter lock is held; the texts are kept alive by the caller.
#pragma once

#include <Python.h>

#include "tuples.hpp"

namespace themis {

class Texts {
public:
    // The number of a `str`; -1 where it has none yet, and then it has the next one.
    int number(PyObject* text, int next) {
        if (slots_.is_full(known_.size())) grow();
        const Py_hash_t hash = PyObject_Hash(text);
        int& slot = at(hash, [this, hash, text](int i) {
            const Known& known = known_[static_cast<std::size_t>(i)];
            return known.hash == hash && (known.text == text || PyUnicode_Compare(known.text, text) == 0);
        });
        if (slot >= 0) return known_[static_cast<std::size_t>(slot)].number;
        slot = static_cast<int>(known_.size());
        known_.push_back({hash, text, next});
        return -1;
    }

    // Have the text's slot in the cache when its turn comes; and, once that is there, what it leads to.
    void fetch_slot(PyObject* text) const { fetched(&first(text)); }
    void fetch_known(PyObject* text) const {
        const int found = first(text);
        if (found >= 0) fetched(&known_[static_cast<std::size_t>(found)]);
    }

private:
    struct Known {
        Py_hash_t hash;
        PyObject* text;
        int number;
    };

    static std::uint64_t run(Py_hash_t hash) { return static_cast<std::uint64_t>(hash) / kRun; }
    static std::size_t place(Py_hash_t hash) { return static_cast<std::size_t>(hash) % kRun; }

    const int& first(PyObject* text) const {
        const Py_hash_t hash = PyObject_Hash(text);
        return slots_.first(run(hash), place(hash));
    }

    template <class IsIt>
    int& at(Py_hash_t hash, IsIt is_it) {
        return slots_.at(run(hash), place(hash), is_it);
    }

    void grow() {
        slots_.clear_and_grow();
        for (std::size_t i = 0; i < known_.size(); ++i) {
            at(known_[i].hash, [](int) { return false; }) = static_cast<int>(i);
        }
    }

    Slots slots_;
    std::vector<Known> known_;
};

}  // namespace themis
