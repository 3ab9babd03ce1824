// Frames that shrink by a broken number, or grow: weighted sums in float.
#pragma once

#include <vector>

#include "axis.hpp"
#include "frame.hpp"
#include "rows.hpp"

namespace remoteclip {

// The weights of a frame in a tile, shared by the threads that render it.
struct Weights {
    Weights(const Frame &frame, const Tile &tile);

    Axis columns, rows, chroma_columns, chroma_rows;
};

// Renders rows of the content; every thread has one of its own.
class WeightedSampler {
public:
    WeightedSampler(const Frame &frame, const Tile &tile, const Weights &weights);

    // Row `d` of the content.
    void operator()(int d);

private:
    // The source rows of destination row d as one, in `blended_`.
    const float *blend(const Plane &plane, int samples, const Axis &rows, int d);

    const Frame &frame_;
    const Tile &tile_;
    const Weights &weights_;
    const RowKernels &kernel_;
    Colour colour_;
    std::vector<const uint8_t *> pointers_;
    std::vector<float> blended_, apart_, line_;
};

}  // namespace remoteclip
