#include "letterbox.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace remoteclip {
namespace {

const RowKernels &kernels() {
#ifdef REMOTECLIP_HAVE_AVX2
    static const RowKernels &best =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? rows_avx2 : rows_baseline;
    return best;
#else
    return rows_baseline;
#endif
}

// One axis from `samples` source samples, which span `extent` sample widths, to `length` destinations.
// A chroma plane of an odd frame spans half a sample less than it has.
class Axis {
public:
    Axis(int samples, double extent, int length, bool shrink)
        : ratio_(extent / length), extent_(extent), samples_(samples), length_(length), start_(length) {
        taps_ = shrink ? 1 : std::min(samples, 2);
        for (int d = 0; shrink && d < length; ++d) taps_ = std::max(taps_, last_of(d) - first_of(d) + 1);
        weight_.assign(static_cast<size_t>(taps_) * length, 0.0f);
        for (int d = 0; d < length; ++d) shrink ? area(d) : bilinear(d);
    }

    Taps taps() const { return {start_.data(), weight_.data(), taps_, length_}; }

private:
    int first_of(int d) const { return std::min(static_cast<int>(d * ratio_), samples_ - 1); }

    double end_of(int d) const { return std::min((d + 1) * ratio_, extent_); }

    int last_of(int d) const {
        return std::clamp(static_cast<int>(std::ceil(end_of(d))) - 1, first_of(d), samples_ - 1);
    }

    // Part of source sample i under destination d.
    double overlap(int d, int i) const {
        return std::max(0.0, std::min(end_of(d), i + 1.0) - std::max(d * ratio_, static_cast<double>(i)));
    }

    // Where the weights of destination d begin, for a window whose first sample is `first`. A window that would
    // end outside the source starts further left instead, with leading zeros.
    float *window(int d, int first) {
        start_[d] = std::min(first, samples_ - taps_);
        return weight_.data() + static_cast<size_t>(d) * taps_ + (first - start_[d]);
    }

    void area(int d) {
        const int first = first_of(d), last = last_of(d);
        double total = 0.0;
        for (int i = first; i <= last; ++i) total += overlap(d, i);
        float *weight = window(d, first);
        for (int i = first; i <= last; ++i) weight[i - first] = static_cast<float>(overlap(d, i) / total);
    }

    void bilinear(int d) {
        const double at = std::clamp((d + 0.5) * ratio_ - 0.5, 0.0, samples_ - 1.0);
        const int first = std::min(static_cast<int>(at), samples_ - taps_);
        const float second = static_cast<float>(at - first);
        float *weight = window(d, first);
        weight[0] = 1.0f - second;
        if (taps_ > 1) weight[1] = second;
    }

    double ratio_, extent_;
    int samples_, length_;
    int taps_ = 1;
    std::vector<int32_t> start_;
    std::vector<float> weight_;
};

// Blends the source rows of one destination row; keeps the scratch between rows.
class RowBlender {
public:
    RowBlender(const Plane &plane, const Axis &rows, int samples)
        : plane_(plane), rows_(rows.taps()), pointers_(rows_.taps), blended_(samples) {}

    const float *operator()(int d) {
        const float *weight = rows_.weight + static_cast<ptrdiff_t>(d) * rows_.taps;
        // Rows of no weight at the end of a window are not read at all.
        int count = rows_.taps;
        while (count > 1 && weight[count - 1] == 0.0f) --count;
        for (int k = 0; k < count; ++k) pointers_[k] = plane_.row(rows_.start[d] + k);
        kernels().blend(pointers_.data(), weight, count, blended_.data(), static_cast<int>(blended_.size()));
        return blended_.data();
    }

private:
    const Plane &plane_;
    Taps rows_;
    std::vector<const uint8_t *> pointers_;
    std::vector<float> blended_;
};

Colour colour_of(Standard standard, bool full_range) {
    const double red = standard == Standard::bt709 ? 0.2126 : 0.299;
    const double blue = standard == Standard::bt709 ? 0.0722 : 0.114;
    const double green = 1.0 - red - blue;
    const double luma = full_range ? 1.0 : 255.0 / 219.0;
    const double chroma = full_range ? 1.0 : 255.0 / 224.0;
    return {
        static_cast<float>(luma),
        full_range ? 0.0f : 16.0f,
        static_cast<float>(2.0 * (1.0 - red) * chroma),
        static_cast<float>(-2.0 * blue * (1.0 - blue) / green * chroma),
        static_cast<float>(-2.0 * red * (1.0 - red) / green * chroma),
        static_cast<float>(2.0 * (1.0 - blue) * chroma),
    };
}

void pad(const Tile &tile) {
    const size_t row = static_cast<size_t>(tile.width) * 3;
    const size_t left = static_cast<size_t>(tile.x) * 3;
    const size_t right = left + static_cast<size_t>(tile.content_width) * 3;
    std::memset(tile.data, padding, row * tile.y);
    for (int d = 0; d < tile.content_height; ++d) {
        uint8_t *line = tile.data + row * (tile.y + d);
        std::memset(line, padding, left);
        std::memset(line + right, padding, row - right);
    }
    const size_t below = static_cast<size_t>(tile.y) + tile.content_height;
    std::memset(tile.data + row * below, padding, row * (tile.height - below));
}

uint8_t *content_row(const Tile &tile, int d) {
    return tile.data + (static_cast<size_t>(tile.y + d) * tile.width + tile.x) * 3;
}

bool shrinks(int width, int height, const Tile &tile) {
    return tile.content_width <= width && tile.content_height <= height;
}

}  // namespace

const char *kernel_name() { return kernels().name; }

void letterbox_i420(const Plane &y, const Plane &u, const Plane &v, Standard standard, bool full_range, const Tile &tile) {
    const bool shrink = shrinks(y.width, y.height, tile);
    const Axis columns(y.width, y.width, tile.content_width, shrink);
    const Axis rows(y.height, y.height, tile.content_height, shrink);
    const Axis chroma_columns(u.width, y.width / 2.0, tile.content_width, shrink);
    const Axis chroma_rows(u.height, y.height / 2.0, tile.content_height, shrink);
    RowBlender blend_y(y, rows, y.width), blend_u(u, chroma_rows, u.width), blend_v(v, chroma_rows, v.width);
    const Colour colour = colour_of(standard, full_range);
    const size_t width = static_cast<size_t>(tile.content_width);
    std::vector<float> line(3 * width);
    float *luma = line.data(), *cb = luma + width, *cr = cb + width;
    const RowKernels &kernel = kernels();
    pad(tile);
    for (int d = 0; d < tile.content_height; ++d) {
        kernel.sample(blend_y(d), columns.taps(), luma);
        kernel.sample(blend_u(d), chroma_columns.taps(), cb);
        kernel.sample(blend_v(d), chroma_columns.taps(), cr);
        kernel.to_rgb(luma, cb, cr, colour, content_row(tile, d), tile.content_width);
    }
}

void letterbox_rgb(const Plane &pixels, const Tile &tile) {
    const bool shrink = shrinks(pixels.width, pixels.height, tile);
    const Axis columns(pixels.width, pixels.width, tile.content_width, shrink);
    const Axis rows(pixels.height, pixels.height, tile.content_height, shrink);
    RowBlender blend(pixels, rows, 3 * pixels.width);
    std::vector<float> line(3 * static_cast<size_t>(tile.content_width));
    const RowKernels &kernel = kernels();
    pad(tile);
    for (int d = 0; d < tile.content_height; ++d) {
        kernel.sample_rgb(blend(d), columns.taps(), line.data());
        kernel.to_bytes(line.data(), content_row(tile, d), static_cast<int>(line.size()));
    }
}

}  // namespace remoteclip
