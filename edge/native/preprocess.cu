// The letterbox on the GPU: a frame's planes to uint8 RGB tiles of all windows in one launch.
// One thread makes one tile pixel; the windows are the grid's z. edge/engines/tensorrt/sampling.py launches it.
#include "preprocess.hpp"

namespace {

template <class Frame>
__device__ void letterbox(const remoteclip::gpu::Launch &launch) {
    const int32_t x = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
    const int32_t y = static_cast<int32_t>(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= launch.width || y >= launch.height) return;
    const int64_t row = static_cast<int64_t>(blockIdx.z) * launch.height + y;
    uint8_t *out = launch.tiles + (row * launch.width + x) * 3;
    remoteclip::gpu::tile_pixel<Frame>(launch, launch.windows[blockIdx.z], x, y, out);
}

}  // namespace

extern "C" {

// The parameters lie in constant memory: __grid_constant__ keeps every thread from copying them.
__global__ void __launch_bounds__(256) letterbox_i420(const __grid_constant__ remoteclip::gpu::Launch launch) {
    letterbox<remoteclip::gpu::I420>(launch);
}

__global__ void __launch_bounds__(256) letterbox_nv12(const __grid_constant__ remoteclip::gpu::Launch launch) {
    letterbox<remoteclip::gpu::Nv12>(launch);
}

__global__ void __launch_bounds__(256) letterbox_rgb(const __grid_constant__ remoteclip::gpu::Launch launch) {
    letterbox<remoteclip::gpu::Rgb>(launch);
}

}
