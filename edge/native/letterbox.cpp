#include "letterbox.hpp"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "boxes.hpp"
#include "cpu.hpp"
#include "weighted.hpp"

namespace remoteclip {
namespace {

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

// Rows of the content by several threads, each with a sampler of its own.
template <class MakeSampler>
void render(const Tile &tile, int threads, const MakeSampler &make_sampler) {
    const int rows = tile.content_height;
    std::vector<decltype(make_sampler())> samplers;  // before the first thread: no other place allocates
    for (int t = 0; t < threads; ++t) samplers.push_back(make_sampler());
    const auto part = [&](int t) {
        const int end = static_cast<int>(static_cast<int64_t>(rows) * (t + 1) / threads);
        for (int d = static_cast<int>(static_cast<int64_t>(rows) * t / threads); d < end; ++d) samplers[t](d);
    };
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    int started = 1;
    try {
        for (; started < threads; ++started) others.emplace_back(part, started);
    } catch (const std::system_error &) {
        // No more threads to be had: this one does the rest.
    }
    part(0);
    for (int t = started; t < threads; ++t) part(t);
    for (std::thread &other : others) other.join();
}

}  // namespace

const char *kernel_name() { return row_kernels().name; }

void letterbox(const Frame &frame, const Tile &tile, int threads) {
    pad(tile);
    threads = std::clamp(threads, 1, tile.content_height);
    if (const int ratio = box_ratio(frame, tile)) {
        render(tile, threads, [&] { return BoxSampler(frame, tile, ratio); });
    } else {
        const Weights weights(frame, tile);
        render(tile, threads, [&] { return WeightedSampler(frame, tile, weights); });
    }
}

}  // namespace remoteclip
