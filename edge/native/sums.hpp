// Integer kernels: where k x k pixels become one, whole sums replace weights. Compiled once per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace remoteclip {

// A sum of samples to a level in 1/128 grey: sum * gain * factor / 65536. Every intermediate fits 16 bits.
struct Scale {
    uint16_t gain, factor;
};

// Y'CbCr levels in 1/128 grey to RGB, coefficients in 1/8192.
struct FixedColour {
    int16_t luma, offset, r_v, g_u, g_v, b_u;
};

struct SumKernels {
    const char *name;
    // out[x] = sum over r of rows[r][x], for x < n; `count` is 1, 2, 3, 6 or a multiple of 4 up to 16.
    void (*rows)(const uint8_t *const *rows, int count, uint16_t *out, int n);
    // Sums of two or of three neighbours: n results from 2 n or 3 n samples.
    void (*pairs)(const uint16_t *in, uint16_t *out, int n);
    void (*triples)(const uint16_t *in, uint16_t *out, int n);
    // The same for interleaved RGB: n results of three samples each.
    void (*pairs_rgb)(const uint16_t *in, uint16_t *out, int n);
    void (*triples_rgb)(const uint16_t *in, uint16_t *out, int n);
    // Chroma, which has half as many samples as luma, beneath 1 and beneath 3 luma samples each.
    void (*halves)(const uint16_t *in, uint16_t *out, int n);
    void (*three_halves)(const uint16_t *in, uint16_t *out, int n);
    // Interleaved pairs apart, n of each.
    void (*split)(const uint16_t *in, uint16_t *first, uint16_t *second, int n);
    // One row of sums to clipped, rounded bytes.
    void (*to_bytes)(const uint16_t *in, Scale scale, uint8_t *out, int n);
    // One row of sums of planes to interleaved, clipped, rounded RGB.
    void (*to_rgb)(const uint16_t *y, const uint16_t *u, const uint16_t *v, Scale luma, Scale chroma,
                   const FixedColour &colour, uint8_t *out, int n);
};

extern const SumKernels sums_baseline;
#ifdef REMOTECLIP_HAVE_AVX2
extern const SumKernels sums_avx2;
#endif

}  // namespace remoteclip
