// Frames that shrink by a whole number: k x k pixels become one, summed in integers.
#pragma once

#include <vector>

#include "frame.hpp"
#include "sums.hpp"

namespace remoteclip {

// How many pixels become one along either side, or 0 where that is no number that the kernels know.
int box_ratio(const Frame &frame, const Tile &tile);

// Renders rows of the content; every thread has one of its own.
class BoxSampler {
public:
    // `ratio` is box_ratio(frame, tile), and not 0.
    BoxSampler(const Frame &frame, const Tile &tile, int ratio);

    // Row `d` of the content.
    void operator()(int d);

private:
    // The sums of `count` source rows beneath destination row d; `halved` planes have a row for two of luma's.
    void add_rows(const Plane &plane, int d, int samples, bool halved, uint16_t *out);
    // Sums of `ratio` neighbours, left in `line`, by way of `spare_`.
    void narrow(uint16_t *line, int ratio, int channels);
    void narrow_chroma(uint16_t *line);

    const Frame &frame_;
    const Tile &tile_;
    const SumKernels &kernel_;
    int ratio_;
    Scale luma_, chroma_;
    FixedColour colour_;
    std::vector<uint16_t> first_, second_, third_, spare_;
};

}  // namespace remoteclip
