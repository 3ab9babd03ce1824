// The kernels for this CPU: those compiled for AVX2 where it has it.
#pragma once

#include "rows.hpp"
#include "sums.hpp"

namespace remoteclip {

#ifdef REMOTECLIP_HAVE_AVX2
inline bool has_avx2() {
    static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has;
}
inline const RowKernels &row_kernels() { return has_avx2() ? rows_avx2 : rows_baseline; }
inline const SumKernels &sum_kernels() { return has_avx2() ? sums_avx2 : sums_baseline; }
#else
inline const RowKernels &row_kernels() { return rows_baseline; }
inline const SumKernels &sum_kernels() { return sums_baseline; }
#endif

}  // namespace remoteclip
