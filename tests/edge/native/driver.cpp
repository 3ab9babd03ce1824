// Runs the letterbox over the vectors that vectors.py writes, without Python: under the sanitizers, or compiled for
// another processor. Exit code 0: every tile is within one grey level of the reference, by any number of threads.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "letterbox.hpp"

namespace {

using remoteclip::Frame;
using remoteclip::Layout;
using remoteclip::Plane;
using remoteclip::Standard;
using remoteclip::Tile;

void read(std::ifstream &file, void *to, size_t bytes) {
    if (!file.read(static_cast<char *>(to), static_cast<std::streamsize>(bytes))) {
        std::fprintf(stderr, "the file of vectors ends too early\n");
        std::exit(2);
    }
}

// Samples in memory of exactly their size, so that reading one byte beyond them is seen.
class Samples {
public:
    Samples(std::ifstream &file, int width, int height, bool upside_down) {
        int32_t row, stride;
        read(file, &row, sizeof row);
        read(file, &stride, sizeof stride);
        const size_t bytes = static_cast<size_t>(height - 1) * stride + row;
        memory_ = std::make_unique<uint8_t[]>(bytes);
        std::memset(memory_.get(), 255, bytes);
        for (int y = 0; y < height; ++y) {
            const int place = upside_down ? height - 1 - y : y;
            read(file, memory_.get() + static_cast<size_t>(place) * stride, row);
        }
        const uint8_t *first = memory_.get() + (upside_down ? static_cast<size_t>(height - 1) * stride : 0);
        plane = {first, upside_down ? -ptrdiff_t{stride} : ptrdiff_t{stride}, width, height};
    }

    Plane plane;

private:
    std::unique_ptr<uint8_t[]> memory_;
};

int worst_of(std::ifstream &file) {
    int32_t head[12];
    read(file, head, sizeof head);
    const int width = head[4], height = head[5];
    const bool upside_down = head[3] != 0;
    Frame frame{static_cast<Layout>(head[0]), {}, head[1] ? Standard::bt709 : Standard::bt601, head[2] != 0};
    const int planes = frame.layout == Layout::i420 ? 3 : frame.layout == Layout::nv12 ? 2 : 1;
    std::vector<Samples> samples;
    for (int p = 0; p < planes; ++p) {
        samples.emplace_back(file, p ? (width + 1) / 2 : width, p ? (height + 1) / 2 : height, upside_down);
        frame.planes[p] = samples.back().plane;
    }
    const size_t bytes = static_cast<size_t>(head[6]) * head[7] * 3;
    std::vector<uint8_t> expected(bytes);
    read(file, expected.data(), bytes);
    int worst = 0;
    for (int threads : {1, 3}) {
        std::vector<uint8_t> tile(bytes);
        remoteclip::letterbox(frame, Tile{tile.data(), head[6], head[7], head[8], head[9], head[10], head[11]}, threads);
        for (size_t i = 0; i < bytes; ++i) {
            const int off = std::abs(static_cast<int>(tile[i]) - expected[i]);
            if (off > worst) worst = off;
        }
    }
    return worst;
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: driver VECTORS\n");
        return 2;
    }
    std::ifstream file(arguments[1], std::ios::binary);
    char magic[4];
    int32_t vectors;
    read(file, magic, sizeof magic);
    read(file, &vectors, sizeof vectors);
    if (std::memcmp(magic, "RCLV", sizeof magic) != 0) {
        std::fprintf(stderr, "%s holds no vectors\n", arguments[1]);
        return 2;
    }
    int bad = 0;
    for (int v = 0; v < vectors; ++v) {
        const int worst = worst_of(file);
        if (worst <= 1) continue;
        std::fprintf(stderr, "vector %d differs by %d grey levels\n", v, worst);
        ++bad;
    }
    std::printf("%d vectors, %d bad, kernels %s\n", vectors, bad, remoteclip::kernel_name());
    return bad ? 1 : 0;
}
