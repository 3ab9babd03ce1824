#include "weighted.hpp"

#include <algorithm>

#include "cpu.hpp"

namespace remoteclip {
namespace {

bool shrinks(const Frame &frame, const Tile &tile) {
    return tile.content_width <= frame.width() && tile.content_height <= frame.height();
}

Colour colour_of(const Frame &frame) {
    const Conversion c = conversion_of(frame);
    return {static_cast<float>(c.luma), static_cast<float>(c.offset), static_cast<float>(c.r_v),
            static_cast<float>(c.g_u), static_cast<float>(c.g_v),    static_cast<float>(c.b_u)};
}

}  // namespace

Weights::Weights(const Frame &frame, const Tile &tile)
    : columns(frame.width(), frame.width(), tile.content_width, shrinks(frame, tile)),
      rows(frame.height(), frame.height(), tile.content_height, shrinks(frame, tile)),
      chroma_columns((frame.width() + 1) / 2, frame.width() / 2.0, tile.content_width, shrinks(frame, tile)),
      chroma_rows((frame.height() + 1) / 2, frame.height() / 2.0, tile.content_height, shrinks(frame, tile)) {}

WeightedSampler::WeightedSampler(const Frame &frame, const Tile &tile, const Weights &weights)
    : frame_(frame),
      tile_(tile),
      weights_(weights),
      kernel_(row_kernels()),
      colour_(colour_of(frame)),
      pointers_(std::max(weights.rows.taps().taps, weights.chroma_rows.taps().taps)),
      blended_((frame.layout == Layout::rgb ? 3 : 1) * (static_cast<size_t>(frame.width()) + 1)),
      apart_(frame.layout == Layout::nv12 ? blended_.size() : 0),
      line_(3 * static_cast<size_t>(tile.content_width)) {}

const float *WeightedSampler::blend(const Plane &plane, int samples, const Axis &rows, int d) {
    const Taps taps = rows.taps();
    const float *weight = taps.weight + static_cast<ptrdiff_t>(d) * taps.taps;
    // Rows of no weight at the end of a window are not read at all.
    int count = taps.taps;
    while (count > 1 && weight[count - 1] == 0.0f) --count;
    for (int k = 0; k < count; ++k) pointers_[k] = plane.row(taps.start[d] + k);
    kernel_.blend(pointers_.data(), weight, count, blended_.data(), samples);
    return blended_.data();
}

void WeightedSampler::operator()(int d) {
    const Plane *planes = frame_.planes;
    const size_t width = static_cast<size_t>(tile_.content_width);
    const int half = planes[1].width;
    float *luma = line_.data(), *cb = luma + width, *cr = cb + width;
    if (frame_.layout == Layout::rgb) {
        kernel_.sample_rgb(blend(planes[0], 3 * frame_.width(), weights_.rows, d), weights_.columns.taps(), luma);
        kernel_.to_bytes(luma, tile_.row(d), static_cast<int>(line_.size()));
        return;
    }
    const Taps across = weights_.chroma_columns.taps();
    if (frame_.layout == Layout::nv12) {
        kernel_.split(blend(planes[1], 2 * half, weights_.chroma_rows, d), apart_.data(), apart_.data() + half, half);
        kernel_.sample(apart_.data(), across, cb);
        kernel_.sample(apart_.data() + half, across, cr);
    } else {
        kernel_.sample(blend(planes[1], half, weights_.chroma_rows, d), across, cb);
        kernel_.sample(blend(planes[2], half, weights_.chroma_rows, d), across, cr);
    }
    kernel_.sample(blend(planes[0], frame_.width(), weights_.rows, d), weights_.columns.taps(), luma);
    kernel_.to_rgb(luma, cb, cr, colour_, tile_.row(d), tile_.content_width);
}

}  // namespace remoteclip
