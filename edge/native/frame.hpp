// What the letterbox reads and writes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace remoteclip {

// Rows may be apart by any stride (also negative); the samples of a row are adjacent.
struct Plane {
    const uint8_t *data;
    ptrdiff_t stride;
    int width, height;

    const uint8_t *row(int y) const { return data + y * stride; }
};

enum class Layout { i420, nv12, rgb };
enum class Standard { bt601, bt709 };

// The planes of each layout: y, u, v; or y, uv; or RGB. A plane's width counts pixels, so that a row of uv holds
// two and one of RGB three times as many samples. Chroma planes have half the rows and columns, rounded up.
struct Frame {
    Layout layout;
    Plane planes[3];
    Standard standard = Standard::bt709;
    bool full_range = false;

    int width() const { return planes[0].width; }
    int height() const { return planes[0].height; }
};

// The tile, contiguous; the frame lands in the content rectangle, the rest is padding.
struct Tile {
    uint8_t *data;
    int width, height;
    int x, y, content_width, content_height;

    uint8_t *row(int d) const { return data + (static_cast<size_t>(y + d) * width + x) * 3; }
};

constexpr uint8_t padding = 114;

// Y'CbCr to RGB: r = luma * (y - offset) + r_v * (v - 128), and so on, in grey levels.
struct Conversion {
    double luma, offset, r_v, g_u, g_v, b_u;
};

inline Conversion conversion_of(const Frame &frame) {
    const double red = frame.standard == Standard::bt709 ? 0.2126 : 0.299;
    const double blue = frame.standard == Standard::bt709 ? 0.0722 : 0.114;
    const double green = 1.0 - red - blue;
    const double luma = frame.full_range ? 1.0 : 255.0 / 219.0;
    const double chroma = frame.full_range ? 1.0 : 255.0 / 224.0;
    return {
        luma,
        frame.full_range ? 0.0 : 16.0,
        2.0 * (1.0 - red) * chroma,
        -2.0 * blue * (1.0 - blue) / green * chroma,
        -2.0 * red * (1.0 - red) / green * chroma,
        2.0 * (1.0 - blue) * chroma,
    };
}

}  // namespace remoteclip
