// The arithmetic of the CUDA letterbox: which source samples a tile pixel is made of, and what colour comes out.
// Plain C++, so that a test compiles it for the processor and holds every pixel to letterbox_reference
// (edge/letterbox.py). All places are exact fractions of whole numbers: no rounding decides which sample is read.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define REMOTECLIP_DEVICE __host__ __device__ inline
#else
#define REMOTECLIP_DEVICE inline
#endif

namespace remoteclip::gpu {

// No side of a frame or tile is longer: products of two sides and of four then fit into 32 bits.
constexpr int32_t largest_side = 32768;
constexpr int most_windows = 32;
constexpr uint8_t padding = 114;

// What the host hands over, laid out as `LAUNCH` in edge/engines/tensorrt/sampling.py states it.

// Samples of one colour. `pitch` is bytes from row to row, the kernel knows those from sample to sample.
struct Plane {
    const uint8_t *data;
    int64_t pitch;
};

// A part of the frame, in frame pixels with even x and y, and where it lies in its tile. The reciprocals are
// (2^32 - 1) / content_width and / content_height, rounded down.
struct Window {
    int32_t x, y, width, height;
    int32_t left, top, content_width, content_height;
    uint32_t across_reciprocal, down_reciprocal;
    int32_t shrinks;
};

// `colour` takes (first, second, third, 1) of the samples to red, green and blue.
struct Launch {
    uint8_t *tiles;
    Plane planes[3];
    float colour[3][4];
    int32_t width, height;
    Window windows[most_windows];
};

static_assert(sizeof(Window) == 44 && sizeof(Launch) == 8 + 3 * 16 + 48 + 8 + most_windows * 44);

// `count` samples from `first` on: the first weighs `head`, the last `tail`, those between `body` each. One
// sample alone weighs `head`.
struct Taps {
    int32_t first, count;
    float head, body, tail;
};

struct Quotient {
    uint32_t whole, rest;
};

// n / divisor for n < 2^31, with reciprocal = (2^32 - 1) / divisor: the estimate is at most one too low.
REMOTECLIP_DEVICE Quotient divide(uint32_t n, uint32_t divisor, uint32_t reciprocal) {
    uint32_t whole = static_cast<uint32_t>((static_cast<uint64_t>(n) * reciprocal) >> 32);
    uint32_t rest = n - whole * divisor;
    if (rest >= divisor) {
        ++whole;
        rest -= divisor;
    }
    return {whole, rest};
}

// One axis of a window: `side` frame pixels become `length` tile pixels.
struct Axis {
    uint32_t side, length, reciprocal;
};

// Area average: destination d covers side / length pixels from d * side / length on. With Halved = 2 those are
// samples of a plane of half the width, whose last sample of an odd side covers one pixel only.
template <int Halved>
REMOTECLIP_DEVICE Taps area_taps(const Axis &axis, uint32_t d) {
    const uint32_t unit = Halved * axis.length;  // one sample, in units of 1 / (Halved * length) samples
    const uint32_t begin = d * axis.side, end = begin + axis.side;
    const uint32_t first = divide(begin, axis.length, axis.reciprocal).whole / Halved;
    const uint32_t last = divide(end - 1, axis.length, axis.reciprocal).whole / Halved;
    const float scale = 1.0f / static_cast<float>(axis.side);
    const uint32_t head = (first == last ? end : (first + 1) * unit) - begin;
    return {
        static_cast<int32_t>(first),
        static_cast<int32_t>(last - first + 1),
        static_cast<float>(head) * scale,
        static_cast<float>(unit) * scale,
        static_cast<float>(end - last * unit) * scale,
    };
}

// Bilinear: the destination's centre lies at ((2 d + 1) * side - Halved * length) / (2 * Halved * length) samples.
template <int Halved>
REMOTECLIP_DEVICE Taps bilinear_taps(const Axis &axis, uint32_t d) {
    const uint32_t half = Halved * axis.length, unit = 2 * half;
    const uint32_t centre = (2 * d + 1) * axis.side;
    const uint32_t at = centre > half ? centre - half : 0;
    const uint32_t first = divide(at, axis.length, axis.reciprocal).whole / (2 * Halved);
    const uint32_t rest = at - first * unit;
    const uint32_t last = (axis.side + Halved - 1) / Halved - 1;
    if (first >= last || rest == 0) return {static_cast<int32_t>(first < last ? first : last), 1, 1.0f, 0.0f, 0.0f};
    const float tail = static_cast<float>(rest) / static_cast<float>(unit);
    return {static_cast<int32_t>(first), 2, 1.0f - tail, 0.0f, tail};
}

template <int Halved>
REMOTECLIP_DEVICE Taps taps_of(const Axis &axis, uint32_t d, bool shrinks) {
    return shrinks ? area_taps<Halved>(axis, d) : bilinear_taps<Halved>(axis, d);
}

REMOTECLIP_DEVICE float weight_of(const Taps &taps, int32_t index) {
    return index == 0 ? taps.head : index == taps.count - 1 ? taps.tail : taps.body;
}

REMOTECLIP_DEVICE uint32_t load(const uint8_t *at) {
#ifdef __CUDA_ARCH__
    return __ldg(at);
#else
    return *at;
#endif
}

// The weighted sum of a plane whose samples are Step bytes apart. `data` is its first sample in the window.
template <int Step>
REMOTECLIP_DEVICE float sample(const uint8_t *data, int64_t pitch, const Taps &columns, const Taps &rows) {
    float sum = 0.0f;
    const int32_t inner = columns.count - 1;
    for (int32_t r = 0; r < rows.count; ++r) {
        const uint8_t *line = data + (rows.first + r) * pitch + columns.first * Step;
        uint32_t between = 0;
        for (int32_t c = 1; c < inner; ++c) between += load(line + c * Step);
        float row = columns.head * static_cast<float>(load(line)) + columns.body * static_cast<float>(between);
        if (inner > 0) row += columns.tail * static_cast<float>(load(line + inner * Step));
        sum += weight_of(rows, r) * row;
    }
    return sum;
}

REMOTECLIP_DEVICE uint8_t to_grey(float value) {
    value = value > 0.0f ? value : 0.0f;
    value = value < 255.0f ? value : 255.0f;
    return static_cast<uint8_t>(static_cast<int32_t>(value + 0.5f));
}

// How a frame's samples lie. FirstStep and OtherStep: bytes between samples of the first plane, and of the other
// two, which have half its rows and columns where Halved is 2.
template <int FirstStep, int OtherStep, int Halved>
struct Layout {
    static constexpr int first_step = FirstStep, other_step = OtherStep, halved = Halved;
};
using I420 = Layout<1, 1, 2>;
using Nv12 = Layout<1, 2, 2>;
using Rgb = Layout<3, 3, 1>;

// Red, green and blue of the tile pixel (x, y) of a window, to `out`.
template <class Frame>
REMOTECLIP_DEVICE void tile_pixel(const Launch &launch, const Window &window, int32_t x, int32_t y, uint8_t *out) {
    x -= window.left;
    y -= window.top;
    if (x < 0 || y < 0 || x >= window.content_width || y >= window.content_height) {
        out[0] = out[1] = out[2] = padding;
        return;
    }
    const Axis across{static_cast<uint32_t>(window.width), static_cast<uint32_t>(window.content_width),
                      window.across_reciprocal};
    const Axis down{static_cast<uint32_t>(window.height), static_cast<uint32_t>(window.content_height),
                    window.down_reciprocal};
    const bool shrinks = window.shrinks != 0;
    Taps columns = taps_of<1>(across, x, shrinks), rows = taps_of<1>(down, y, shrinks);
    float samples[3];
    const Plane &first = launch.planes[0];
    samples[0] = sample<Frame::first_step>(first.data + window.y * first.pitch + window.x * Frame::first_step,
                                           first.pitch, columns, rows);
    if (Frame::halved == 2) {
        columns = taps_of<2>(across, x, shrinks);
        rows = taps_of<2>(down, y, shrinks);
    }
    for (int channel = 1; channel < 3; ++channel) {
        const Plane &other = launch.planes[channel];
        const uint8_t *data = other.data + window.y / Frame::halved * other.pitch +
                              window.x / Frame::halved * Frame::other_step;
        samples[channel] = sample<Frame::other_step>(data, other.pitch, columns, rows);
    }
    for (int channel = 0; channel < 3; ++channel) {
        const float *row = launch.colour[channel];
        out[channel] = to_grey(row[0] * samples[0] + row[1] * samples[1] + row[2] * samples[2] + row[3]);
    }
}

}  // namespace remoteclip::gpu
