// edge/native/preprocess.cu compiled for the processor: the kernels themselves, block by block and thread by thread.
// As a shared library the fake GPU of the tests launches them; as a program (EMULATE_MAIN), under sanitizers, they
// read frames out of memory that ends where the frame ends.
#include <cstdint>
#include <cstring>

struct Index {
    unsigned x, y, z;
};
static thread_local Index blockIdx, threadIdx, blockDim;

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(threads)
#include "preprocess.cu"

using remoteclip::gpu::Launch;

// 0, or 1 where there is no such kernel.
extern "C" int emulate(const char *name, const Launch *launch, const unsigned grid[3], const unsigned block[3]) {
    void (*kernel)(const Launch) = nullptr;
    if (!std::strcmp(name, "letterbox_i420")) kernel = letterbox_i420;
    if (!std::strcmp(name, "letterbox_nv12")) kernel = letterbox_nv12;
    if (!std::strcmp(name, "letterbox_rgb")) kernel = letterbox_rgb;
    if (!kernel) return 1;
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                    for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x) kernel(*launch);
    return 0;
}

#ifdef EMULATE_MAIN
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

// What a case on stdin begins with; its planes follow, each from its first sample in memory to its last.
struct Case {
    char kernel[32];
    unsigned grid[3], block[3];
    uint64_t plane_bytes[3], first_sample[3];  // of no plane: 0 bytes, and the plane before, `first_sample` bytes on
    Launch launch;
};

void read_all(void *to, size_t bytes) {
    if (std::fread(to, 1, bytes, stdin) != bytes) std::abort();
}

}  // namespace

// Cases from stdin, their tiles to stdout.
int main() {
    Case one;
    while (std::fread(&one, sizeof one, 1, stdin) == 1) {
        // Not vectors: a buffer of its own for each plane, so that the sanitizer sees where it ends.
        uint8_t *planes[3];
        for (int i = 0; i < 3; ++i) {
            const bool own = one.plane_bytes[i] > 0;
            planes[i] = own ? static_cast<uint8_t *>(std::malloc(one.plane_bytes[i])) : planes[i - 1];
            if (own) read_all(planes[i], one.plane_bytes[i]);
            one.launch.planes[i].data = planes[i] + one.first_sample[i];
        }
        const size_t bytes = size_t(3) * one.launch.width * one.launch.height * one.grid[2];
        uint8_t *tiles = static_cast<uint8_t *>(std::malloc(bytes));
        std::memset(tiles, 77, bytes);
        one.launch.tiles = tiles;
        if (emulate(one.kernel, &one.launch, one.grid, one.block)) return 2;
        std::fwrite(tiles, 1, bytes, stdout);
        for (int i = 0; i < 3; ++i) {
            if (one.plane_bytes[i] > 0) std::free(planes[i]);
        }
        std::free(tiles);
    }
    return 0;
}
#endif
