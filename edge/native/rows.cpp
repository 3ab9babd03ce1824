// Compiled several times with different flags: keep this file free of the standard library's inline functions
// (see CMakeLists.txt). Everything but the table has internal linkage.
#include "rows.hpp"

#include "restrict.hpp"

namespace remoteclip {
namespace {

inline uint8_t to_grey(float value) {
    value = value > 0.0f ? value : 0.0f;
    value = value < 255.0f ? value : 255.0f;
    return static_cast<uint8_t>(static_cast<int32_t>(value + 0.5f));
}

// Up to four source rows in one pass over the output: the accumulator is loaded and stored once for all of them.
template <int Rows, bool Add>
void blend_some(const uint8_t *const *rows, const float *weight, float *RESTRICT out, int n) {
    const uint8_t *RESTRICT a = rows[0];
    const uint8_t *RESTRICT b = rows[Rows > 1 ? 1 : 0];
    const uint8_t *RESTRICT c = rows[Rows > 2 ? 2 : 0];
    const uint8_t *RESTRICT d = rows[Rows > 3 ? 3 : 0];
    const float wa = weight[0], wb = weight[Rows > 1 ? 1 : 0];
    const float wc = weight[Rows > 2 ? 2 : 0], wd = weight[Rows > 3 ? 3 : 0];
    for (int x = 0; x < n; ++x) {
        float sum = wa * static_cast<float>(a[x]);
        if constexpr (Rows > 1) sum += wb * static_cast<float>(b[x]);
        if constexpr (Rows > 2) sum += wc * static_cast<float>(c[x]);
        if constexpr (Rows > 3) sum += wd * static_cast<float>(d[x]);
        if constexpr (Add) {
            out[x] += sum;
        } else {
            out[x] = sum;
        }
    }
}

template <bool Add>
void blend_group(const uint8_t *const *rows, const float *weight, int count, float *out, int n) {
    switch (count) {
        case 1: blend_some<1, Add>(rows, weight, out, n); break;
        case 2: blend_some<2, Add>(rows, weight, out, n); break;
        case 3: blend_some<3, Add>(rows, weight, out, n); break;
        default: blend_some<4, Add>(rows, weight, out, n); break;
    }
}

void blend(const uint8_t *const *rows, const float *weight, int count, float *out, int n) {
    blend_group<false>(rows, weight, count < 4 ? count : 4, out, n);
    for (int r = 4; r < count; r += 4) {
        blend_group<true>(rows + r, weight + r, count - r < 4 ? count - r : 4, out, n);
    }
}

// Fixed numbers of taps unroll; 0 stands for any number.
template <int Fixed>
void sample_taps(const float *RESTRICT in, const Taps &axis, float *RESTRICT out) {
    const int taps = Fixed ? Fixed : axis.taps;
    const int32_t *RESTRICT start = axis.start;
    const float *RESTRICT weight = axis.weight;
    for (int d = 0, n = axis.length; d < n; ++d, weight += taps) {
        const float *s = in + start[d];
        float sum = 0.0f;
        for (int k = 0; k < taps; ++k) sum += weight[k] * s[k];
        out[d] = sum;
    }
}

template <int Fixed>
void sample_rgb_taps(const float *RESTRICT in, const Taps &axis, float *RESTRICT out) {
    const int taps = Fixed ? Fixed : axis.taps;
    const int32_t *RESTRICT start = axis.start;
    const float *RESTRICT weight = axis.weight;
    for (int d = 0, n = axis.length; d < n; ++d, weight += taps, out += 3) {
        const float *s = in + 3 * static_cast<ptrdiff_t>(start[d]);
        float r = 0.0f, g = 0.0f, b = 0.0f;
        for (int k = 0; k < taps; ++k, s += 3) {
            r += weight[k] * s[0];
            g += weight[k] * s[1];
            b += weight[k] * s[2];
        }
        out[0] = r;
        out[1] = g;
        out[2] = b;
    }
}

void sample(const float *in, const Taps &axis, float *out) {
    switch (axis.taps) {
        case 1: sample_taps<1>(in, axis, out); break;
        case 2: sample_taps<2>(in, axis, out); break;
        case 3: sample_taps<3>(in, axis, out); break;
        case 4: sample_taps<4>(in, axis, out); break;
        case 5: sample_taps<5>(in, axis, out); break;
        default: sample_taps<0>(in, axis, out); break;
    }
}

void sample_rgb(const float *in, const Taps &axis, float *out) {
    switch (axis.taps) {
        case 1: sample_rgb_taps<1>(in, axis, out); break;
        case 2: sample_rgb_taps<2>(in, axis, out); break;
        case 3: sample_rgb_taps<3>(in, axis, out); break;
        case 4: sample_rgb_taps<4>(in, axis, out); break;
        case 5: sample_rgb_taps<5>(in, axis, out); break;
        default: sample_rgb_taps<0>(in, axis, out); break;
    }
}

void split(const float *RESTRICT in, float *RESTRICT first, float *RESTRICT second, int n) {
    for (int x = 0; x < n; ++x) {
        first[x] = in[2 * x];
        second[x] = in[2 * x + 1];
    }
}

void to_bytes(const float *RESTRICT in, uint8_t *RESTRICT out, int n) {
    for (int x = 0; x < n; ++x) out[x] = to_grey(in[x]);
}

void to_rgb(const float *RESTRICT y, const float *RESTRICT u, const float *RESTRICT v, const Colour &colour,
            uint8_t *RESTRICT out, int n) {
    const Colour c = colour;
    for (int x = 0; x < n; ++x) {
        const float luma = c.luma * (y[x] - c.offset);
        const float cb = u[x] - 128.0f, cr = v[x] - 128.0f;
        out[3 * x + 0] = to_grey(luma + c.r_v * cr);
        out[3 * x + 1] = to_grey(luma + c.g_u * cb + c.g_v * cr);
        out[3 * x + 2] = to_grey(luma + c.b_u * cb);
    }
}

#define REMOTECLIP_STRING(name) #name
#define REMOTECLIP_NAME(name) REMOTECLIP_STRING(name)

}  // namespace

extern const RowKernels REMOTECLIP_ROWS;
const RowKernels REMOTECLIP_ROWS = {REMOTECLIP_NAME(REMOTECLIP_ROWS), blend, sample, sample_rgb, split, to_bytes, to_rgb};

}  // namespace remoteclip
