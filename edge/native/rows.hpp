// Row kernels: the inner loops of the letterbox, compiled once per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace remoteclip {

// Y'CbCr to RGB: r = luma * (y - offset) + r_v * (v - 128), and so on.
struct Colour {
    float luma, offset, r_v, g_u, g_v, b_u;
};

// Weights of one axis of a separable resampling: destination d reads `taps` source samples from start[d];
// the weights of destination d begin at weight[d * taps] and sum to one.
struct Taps {
    const int32_t *start;
    const float *weight;
    int taps;
    int length;
};

struct RowKernels {
    const char *name;
    // out[x] = sum over r of weight[r] * rows[r][x], for x < n.
    void (*blend)(const uint8_t *const *rows, const float *weight, int count, float *out, int n);
    // out[d] = sum over k of weight[d * taps + k] * in[start[d] + k]
    void (*sample)(const float *in, const Taps &axis, float *out);
    // The same for interleaved RGB.
    void (*sample_rgb)(const float *in, const Taps &axis, float *out);
    // Interleaved pairs apart, n of each.
    void (*split)(const float *in, float *first, float *second, int n);
    // Clipped and rounded.
    void (*to_bytes)(const float *in, uint8_t *out, int n);
    // One row of resampled planes to interleaved, clipped, rounded RGB.
    void (*to_rgb)(const float *y, const float *u, const float *v, const Colour &colour, uint8_t *out, int n);
};

extern const RowKernels rows_baseline;
#ifdef REMOTECLIP_HAVE_AVX2
extern const RowKernels rows_avx2;
#endif

}  // namespace remoteclip
