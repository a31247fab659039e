// Makes the searches with masks as wide as the history needs.
#pragma once

#include <cstddef>
#include <memory>

#include "depth.hpp"
#include "forward.hpp"

namespace themis {

inline constexpr int kWidthMax = 64 * 64;  // Wider histories are left to the pure twin, whose masks have no width.

template <template <int> class Kind, class Base, class... More>
Base* made(const Problem& problem, std::size_t memory_max, More... more) {
    if (problem.width <= 64) return new Kind<1>(problem, memory_max, more...);
    if (problem.width <= 256) return new Kind<4>(problem, memory_max, more...);
    if (problem.width <= 1024) return new Kind<16>(problem, memory_max, more...);
    return new Kind<64>(problem, memory_max, more...);
}

inline DepthSearch* make_depth(const Problem& problem, std::size_t memory_max, Guide* guide, int goal) {
    return made<Depth, DepthSearch>(problem, memory_max, guide, goal);
}

inline ForwardSearch* make_forward(const Problem& problem, std::size_t width_max) {
    return made<Forward, ForwardSearch>(problem, width_max);
}

}  // namespace themis
