// Letterbox: a frame, as I420 planes or RGB, resampled into the middle of a uint8 RGB model tile.
// Area averaging where the frame shrinks, bilinear where it grows. edge/letterbox.py states the arithmetic as
// letterbox_reference; this equals it within one grey level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rows.hpp"

namespace remoteclip {

// Rows may be apart by any stride (also negative); the samples of a row are adjacent.
struct Plane {
    const uint8_t *data;
    ptrdiff_t stride;
    int width, height;

    const uint8_t *row(int y) const { return data + y * stride; }
};

// The tile, contiguous; the frame lands in the content rectangle, the rest is padding.
struct Tile {
    uint8_t *data;
    int width, height;
    int x, y, content_width, content_height;
};

enum class Standard { bt601, bt709 };

constexpr uint8_t padding = 114;

// Name of the row kernels that this CPU runs.
const char *kernel_name();

void letterbox_i420(const Plane &y, const Plane &u, const Plane &v, Standard standard, bool full_range, const Tile &tile);

// `pixels.width` counts pixels; a row holds three times as many samples.
void letterbox_rgb(const Plane &pixels, const Tile &tile);

}  // namespace remoteclip
