// The Python border: every shape and stride is checked here, the kernels trust them.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "letterbox.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using remoteclip::Frame;
using remoteclip::Layout;
using remoteclip::Plane;
using remoteclip::Standard;
using remoteclip::Tile;

using PlaneArray = nb::ndarray<const uint8_t, nb::ndim<2>, nb::device::cpu>;
using PairArray = nb::ndarray<const uint8_t, nb::shape<-1, -1, 2>, nb::device::cpu>;
using PixelArray = nb::ndarray<const uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using TileArray = nb::ndarray<uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

// Bounds every product of sizes far inside int.
constexpr size_t largest_side = 1 << 16;
constexpr int most_threads = 64;

[[noreturn]] void refuse(const std::string &problem) { throw nb::value_error(problem.c_str()); }

void check_side(size_t height, size_t width, const char *name) {
    if (height < 1 || width < 1 || height > largest_side || width > largest_side) {
        refuse(std::string(name) + " is " + std::to_string(width) + " x " + std::to_string(height) +
               "; each side must be 1 to " + std::to_string(largest_side));
    }
}

Plane plane_of(const PlaneArray &array, const char *name) {
    check_side(array.shape(0), array.shape(1), name);
    if (array.stride(1) != 1 && array.shape(1) > 1) refuse(std::string(name) + ": samples of a row must be adjacent");
    return {array.data(), array.stride(0), static_cast<int>(array.shape(1)), static_cast<int>(array.shape(0))};
}

template <class Array>
Plane interleaved_plane_of(const Array &array, const char *name, int64_t channels) {
    check_side(array.shape(0), array.shape(1), name);
    if (array.stride(2) != 1 || (array.stride(1) != channels && array.shape(1) > 1)) {
        refuse(std::string(name) + ": pixels of a row must be adjacent");
    }
    return {array.data(), array.stride(0), static_cast<int>(array.shape(1)), static_cast<int>(array.shape(0))};
}

void check_chroma(const Plane &luma, const Plane &chroma, const char *name) {
    const int width = (luma.width + 1) / 2, height = (luma.height + 1) / 2;
    if (chroma.width == width && chroma.height == height) return;
    refuse(std::string(name) + " must be half the size of y, rounded up: expected " + std::to_string(width) + " x " +
           std::to_string(height) + ", got " + std::to_string(chroma.width) + " x " + std::to_string(chroma.height));
}

Tile tile_of(const TileArray &array, int x, int y, int width, int height) {
    check_side(array.shape(0), array.shape(1), "the tile");
    const int tile_width = static_cast<int>(array.shape(1)), tile_height = static_cast<int>(array.shape(0));
    const bool inside = x >= 0 && y >= 0 && width >= 1 && height >= 1 && x <= tile_width && y <= tile_height &&
                        width <= tile_width - x && height <= tile_height - y;
    if (!inside) refuse("the content rectangle must lie inside the tile");
    return {array.data(), tile_width, tile_height, x, y, width, height};
}

// The kernel area-averages or interpolates both axes, never one of each.
void check_direction(const Frame &frame, const Tile &tile) {
    const bool shrinks = tile.content_width <= frame.width() && tile.content_height <= frame.height();
    const bool grows = tile.content_width >= frame.width() && tile.content_height >= frame.height();
    if (!shrinks && !grows) refuse("the content must not be larger on one axis and smaller on the other");
}

void render(const Frame &frame, const TileArray &out, int content_x, int content_y, int content_width, int content_height,
            int threads) {
    const Tile tile = tile_of(out, content_x, content_y, content_width, content_height);
    check_direction(frame, tile);
    if (threads < 1 || threads > most_threads) refuse("threads must be 1 to " + std::to_string(most_threads));
    nb::gil_scoped_release unlocked;
    remoteclip::letterbox(frame, tile, threads);
}

void i420(const PlaneArray &y, const PlaneArray &u, const PlaneArray &v, bool bt709, bool full_range, const TileArray &out,
          int content_x, int content_y, int content_width, int content_height, int threads) {
    const Frame frame{Layout::i420, {plane_of(y, "y"), plane_of(u, "u"), plane_of(v, "v")},
                      bt709 ? Standard::bt709 : Standard::bt601, full_range};
    check_chroma(frame.planes[0], frame.planes[1], "u");
    check_chroma(frame.planes[0], frame.planes[2], "v");
    render(frame, out, content_x, content_y, content_width, content_height, threads);
}

void nv12(const PlaneArray &y, const PairArray &uv, bool bt709, bool full_range, const TileArray &out, int content_x,
          int content_y, int content_width, int content_height, int threads) {
    const Frame frame{Layout::nv12, {plane_of(y, "y"), interleaved_plane_of(uv, "uv", 2), {}},
                      bt709 ? Standard::bt709 : Standard::bt601, full_range};
    check_chroma(frame.planes[0], frame.planes[1], "uv");
    render(frame, out, content_x, content_y, content_width, content_height, threads);
}

void rgb(const PixelArray &pixels, const TileArray &out, int content_x, int content_y, int content_width,
         int content_height, int threads) {
    const Frame frame{Layout::rgb, {interleaved_plane_of(pixels, "pixels", 3), {}, {}}};
    render(frame, out, content_x, content_y, content_width, content_height, threads);
}

}  // namespace

NB_MODULE(_letterbox, module) {
    module.doc() = "Frame to letterboxed uint8 RGB model tile, without an RGB frame in between.";
    module.def("kernel_name", &remoteclip::kernel_name, "Name of the row kernels that this CPU runs.");
    module.def("i420", &i420, "y"_a.noconvert(), "u"_a.noconvert(), "v"_a.noconvert(), "bt709"_a, "full_range"_a,
               "out"_a.noconvert(), "content_x"_a, "content_y"_a, "content_width"_a, "content_height"_a, "threads"_a = 1,
               "Letterbox I420 planes into `out` (H, W, 3) uint8. Raises ValueError on sizes that do not fit.");
    module.def("nv12", &nv12, "y"_a.noconvert(), "uv"_a.noconvert(), "bt709"_a, "full_range"_a, "out"_a.noconvert(),
               "content_x"_a, "content_y"_a, "content_width"_a, "content_height"_a, "threads"_a = 1,
               "Letterbox y (h, w) and uv ((h+1)/2, (w+1)/2, 2) into `out` (H, W, 3) uint8. Raises ValueError as i420.");
    module.def("rgb", &rgb, "pixels"_a.noconvert(), "out"_a.noconvert(), "content_x"_a, "content_y"_a,
               "content_width"_a, "content_height"_a, "threads"_a = 1,
               "Letterbox (h, w, 3) uint8 RGB pixels into `out` (H, W, 3) uint8. Raises ValueError as i420.");
}
