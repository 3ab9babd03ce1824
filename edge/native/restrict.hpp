#pragma once

// The compilers' word for C's restrict: what it points at has no other name.
#if defined(__GNUC__) || defined(__clang__)
#define RESTRICT __restrict__
#else
#define RESTRICT __restrict
#endif
