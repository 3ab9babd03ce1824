#include "boxes.hpp"

#include <cmath>
#include <cstring>

#include "cpu.hpp"

namespace remoteclip {
namespace {

constexpr int largest_ratio = 16;  // 16 x 16 samples of 255 are the largest sum that fits 16 bits

Scale scale_of(int ratio) {
    const uint32_t count = static_cast<uint32_t>(ratio) * ratio;
    uint32_t gain = 1;
    while (count * 255 * gain * 2 <= 65535) gain *= 2;
    return {static_cast<uint16_t>(gain), static_cast<uint16_t>(std::lround(65536.0 * 128.0 / (count * gain)))};
}

int16_t fixed(double coefficient) { return static_cast<int16_t>(std::lround(coefficient * 8192.0)); }

FixedColour colour_of(const Frame &frame) {
    const Conversion c = conversion_of(frame);
    return {fixed(c.luma), static_cast<int16_t>(c.offset * 128.0), fixed(c.r_v), fixed(c.g_u), fixed(c.g_v), fixed(c.b_u)};
}

}  // namespace

int box_ratio(const Frame &frame, const Tile &tile) {
    const int ratio = frame.width() / tile.content_width;
    if (ratio * tile.content_width != frame.width() || ratio * tile.content_height != frame.height()) return 0;
    for (int known : {1, 2, 3, 4, 6, 8, 12, largest_ratio}) {
        if (ratio == known) return ratio;
    }
    return 0;
}

BoxSampler::BoxSampler(const Frame &frame, const Tile &tile, int ratio)
    : frame_(frame),
      tile_(tile),
      kernel_(sum_kernels()),
      ratio_(ratio),
      luma_(scale_of(ratio)),
      chroma_(ratio % 2 ? luma_ : scale_of(ratio / 2)),
      colour_(colour_of(frame)) {
    const size_t channels = frame.layout == Layout::rgb ? 3 : 1;
    const size_t width = static_cast<size_t>(frame.width()) + 1;
    first_.resize(channels * width);
    spare_.resize(channels * width);
    if (channels == 1) {
        second_.resize(width);
        third_.resize(width);
    }
}

void BoxSampler::add_rows(const Plane &plane, int d, int samples, bool halved, uint16_t *out) {
    const uint8_t *rows[largest_ratio];
    const int count = halved && ratio_ % 2 == 0 ? ratio_ / 2 : ratio_;
    for (int r = 0; r < count; ++r) {
        // An odd number of luma rows lies on chroma rows of which the first or the last counts once, others twice.
        rows[r] = plane.row(halved && ratio_ % 2 ? (d * ratio_ + r) / 2 : d * count + r);
    }
    kernel_.rows(rows, count, out, samples);
}

void BoxSampler::narrow(uint16_t *line, int ratio, int channels) {
    uint16_t *from = line, *to = spare_.data();
    for (int left = ratio; left > 1;) {
        const int step = left % 2 ? 3 : 2;
        left /= step;
        const int n = tile_.content_width * left;
        if (step == 2) {
            (channels == 3 ? kernel_.pairs_rgb : kernel_.pairs)(from, to, n);
        } else {
            (channels == 3 ? kernel_.triples_rgb : kernel_.triples)(from, to, n);
        }
        uint16_t *written = to;
        to = from;
        from = written;
    }
    if (from != line) std::memcpy(line, from, sizeof(uint16_t) * channels * tile_.content_width);
}

void BoxSampler::narrow_chroma(uint16_t *line) {
    if (ratio_ % 2 == 0) {
        narrow(line, ratio_ / 2, 1);
        return;
    }
    (ratio_ == 1 ? kernel_.halves : kernel_.three_halves)(line, spare_.data(), tile_.content_width);
    std::memcpy(line, spare_.data(), sizeof(uint16_t) * tile_.content_width);
}

void BoxSampler::operator()(int d) {
    uint16_t *first = first_.data(), *second = second_.data(), *third = third_.data();
    const Plane *planes = frame_.planes;
    if (frame_.layout == Layout::rgb) {
        add_rows(planes[0], d, 3 * planes[0].width, false, first);
        narrow(first, ratio_, 3);
        kernel_.to_bytes(first, luma_, tile_.row(d), 3 * tile_.content_width);
        return;
    }
    if (frame_.layout == Layout::nv12) {
        add_rows(planes[1], d, 2 * planes[1].width, true, first);
        kernel_.split(first, second, third, planes[1].width);
    } else {
        add_rows(planes[1], d, planes[1].width, true, second);
        add_rows(planes[2], d, planes[2].width, true, third);
    }
    add_rows(planes[0], d, planes[0].width, false, first);
    narrow(first, ratio_, 1);
    narrow_chroma(second);
    narrow_chroma(third);
    kernel_.to_rgb(first, second, third, luma_, chroma_, colour_, tile_.row(d), tile_.content_width);
}

}  // namespace remoteclip
