// Letterbox: a frame, as YUV 4:2:0 planes or RGB, resampled into the middle of a uint8 RGB model tile.
// Area averaging where the frame shrinks, bilinear where it grows. edge/letterbox.py states the arithmetic as
// letterbox_reference; this equals it within one grey level.
#pragma once

#include "frame.hpp"

namespace remoteclip {

// Name of the kernels that this CPU runs.
const char *kernel_name();

// The caller's thread is one of `threads`.
void letterbox(const Frame &frame, const Tile &tile, int threads);

}  // namespace remoteclip
