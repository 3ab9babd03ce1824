// Compiled several times with different flags: keep this file free of the standard library's inline functions
// (see CMakeLists.txt). Everything but the table has internal linkage.
#include "sums.hpp"

#include "restrict.hpp"

namespace remoteclip {
namespace {

template <int Rows, bool Add>
void sum_some(const uint8_t *const *rows, uint16_t *RESTRICT out, int n) {
    const uint8_t *RESTRICT a = rows[0];
    const uint8_t *RESTRICT b = rows[Rows > 1 ? 1 : 0];
    const uint8_t *RESTRICT c = rows[Rows > 2 ? 2 : 0];
    const uint8_t *RESTRICT d = rows[Rows > 3 ? 3 : 0];
    const uint8_t *RESTRICT e = rows[Rows > 4 ? 4 : 0];
    const uint8_t *RESTRICT f = rows[Rows > 5 ? 5 : 0];
    for (int x = 0; x < n; ++x) {
        uint16_t sum = a[x];
        if constexpr (Rows > 1) sum = static_cast<uint16_t>(sum + b[x]);
        if constexpr (Rows > 2) sum = static_cast<uint16_t>(sum + c[x]);
        if constexpr (Rows > 3) sum = static_cast<uint16_t>(sum + d[x]);
        if constexpr (Rows > 4) sum = static_cast<uint16_t>(sum + e[x]);
        if constexpr (Rows > 5) sum = static_cast<uint16_t>(sum + f[x]);
        out[x] = static_cast<uint16_t>(Add ? out[x] + sum : sum);
    }
}

// The numbers of rows that box_ratio (boxes.cpp) gives: 1, 2, 3, 4, 6, and 8, 12, 16 in fours.
void sum_rows(const uint8_t *const *rows, int count, uint16_t *out, int n) {
    switch (count) {
        case 1: sum_some<1, false>(rows, out, n); return;
        case 2: sum_some<2, false>(rows, out, n); return;
        case 3: sum_some<3, false>(rows, out, n); return;
        case 6: sum_some<6, false>(rows, out, n); return;
        default: break;
    }
    sum_some<4, false>(rows, out, n);
    for (int r = 4; r < count; r += 4) sum_some<4, true>(rows + r, out, n);
}

template <int Channels>
void sum_pairs(const uint16_t *RESTRICT in, uint16_t *RESTRICT out, int n) {
    for (int x = 0; x < n; ++x) {
        for (int c = 0; c < Channels; ++c) {
            const uint16_t *s = in + 2 * Channels * x + c;
            out[Channels * x + c] = static_cast<uint16_t>(s[0] + s[Channels]);
        }
    }
}

template <int Channels>
void sum_triples(const uint16_t *RESTRICT in, uint16_t *RESTRICT out, int n) {
    for (int x = 0; x < n; ++x) {
        for (int c = 0; c < Channels; ++c) {
            const uint16_t *s = in + 3 * Channels * x + c;
            out[Channels * x + c] = static_cast<uint16_t>(s[0] + s[Channels] + s[2 * Channels]);
        }
    }
}

void halves(const uint16_t *RESTRICT in, uint16_t *RESTRICT out, int n) {
    for (int x = 0; x < n / 2; ++x) out[2 * x] = out[2 * x + 1] = in[x];
    if (n % 2) out[n - 1] = in[n / 2];
}

void three_halves(const uint16_t *RESTRICT in, uint16_t *RESTRICT out, int n) {
    for (int x = 0; x < n / 2; ++x) {
        out[2 * x] = static_cast<uint16_t>(2 * in[3 * x] + in[3 * x + 1]);
        out[2 * x + 1] = static_cast<uint16_t>(in[3 * x + 1] + 2 * in[3 * x + 2]);
    }
    if (n % 2) out[n - 1] = static_cast<uint16_t>(2 * in[n / 2 * 3] + in[n / 2 * 3 + 1]);
}

void split(const uint16_t *RESTRICT in, uint16_t *RESTRICT first, uint16_t *RESTRICT second, int n) {
    for (int x = 0; x < n; ++x) {
        first[x] = in[2 * x];
        second[x] = in[2 * x + 1];
    }
}

inline uint16_t level(uint16_t sum, Scale scale) {
    const uint16_t raised = static_cast<uint16_t>(sum * scale.gain);
    return static_cast<uint16_t>((static_cast<uint32_t>(raised) * scale.factor) >> 16);
}

// a * b / 2^15, rounded. In this form compilers know it for one instruction of AVX2 and of NEON.
inline int16_t product(int16_t a, int16_t b) {
    return static_cast<int16_t>((((static_cast<int32_t>(a) * b) >> 14) + 1) >> 1);
}

inline uint8_t clipped(int16_t value) {
    value = value > 0 ? value : int16_t{0};
    return static_cast<uint8_t>(value < 255 ? value : int16_t{255});
}

void to_bytes(const uint16_t *RESTRICT in, Scale scale, uint8_t *RESTRICT out, int n) {
    for (int x = 0; x < n; ++x) out[x] = static_cast<uint8_t>((level(in[x], scale) + 64) >> 7);
}

// Sums of 1/32 grey stay inside 16 bits: at most 1.17 * 255 + 2.12 * 128 grey either way.
inline uint8_t grey(int16_t sum) {
    sum = static_cast<int16_t>(sum + 16);
    return clipped(static_cast<int16_t>(sum >> 5));
}

void to_rgb(const uint16_t *RESTRICT y, const uint16_t *RESTRICT u, const uint16_t *RESTRICT v, Scale luma, Scale chroma,
            const FixedColour &colour, uint8_t *RESTRICT out, int n) {
    const FixedColour c = colour;
    constexpr int16_t middle = 128 * 128;
    // By blocks that stay in registers and the nearest cache: first the planes, then their interleaving.
    constexpr int block = 64;
    for (int begin = 0; begin < n; begin += block) {
        uint8_t red[block], green[block], blue[block];
        const int count = n - begin < block ? n - begin : block;
        for (int i = 0; i < count; ++i) {
            const int x = begin + i;
            const int16_t bright = product(static_cast<int16_t>(level(y[x], luma) - c.offset), c.luma);
            const int16_t cb = static_cast<int16_t>(level(u[x], chroma) - middle);
            const int16_t cr = static_cast<int16_t>(level(v[x], chroma) - middle);
            red[i] = grey(static_cast<int16_t>(bright + product(cr, c.r_v)));
            green[i] = grey(static_cast<int16_t>(bright + product(cb, c.g_u) + product(cr, c.g_v)));
            blue[i] = grey(static_cast<int16_t>(bright + product(cb, c.b_u)));
        }
        uint8_t *RESTRICT to = out + 3 * begin;
        for (int i = 0; i < count; ++i) {
            to[3 * i] = red[i];
            to[3 * i + 1] = green[i];
            to[3 * i + 2] = blue[i];
        }
    }
}

#define REMOTECLIP_STRING(name) #name
#define REMOTECLIP_NAME(name) REMOTECLIP_STRING(name)

}  // namespace

extern const SumKernels REMOTECLIP_SUMS;
const SumKernels REMOTECLIP_SUMS = {
    REMOTECLIP_NAME(REMOTECLIP_SUMS), sum_rows,       sum_pairs<1>, sum_triples<1>, sum_pairs<3>,
    sum_triples<3>,                   halves,         three_halves, split,          to_bytes,
    to_rgb,
};

}  // namespace remoteclip
