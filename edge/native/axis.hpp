// The weights of one axis of a separable resampling.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "rows.hpp"

namespace remoteclip {

// One axis from `samples` source samples, which span `extent` sample widths, to `length` destinations.
// A chroma plane of an odd frame spans half a sample less than it has.
class Axis {
public:
    Axis(int samples, double extent, int length, bool shrink)
        : ratio_(extent / length), extent_(extent), samples_(samples), length_(length), start_(length) {
        taps_ = shrink ? 1 : std::min(samples, 2);
        for (int d = 0; shrink && d < length; ++d) taps_ = std::max(taps_, last_of(d) - first_of(d) + 1);
        weight_.assign(static_cast<size_t>(taps_) * length, 0.0f);
        for (int d = 0; d < length; ++d) shrink ? area(d) : bilinear(d);
    }

    Taps taps() const { return {start_.data(), weight_.data(), taps_, length_}; }

private:
    int first_of(int d) const { return std::min(static_cast<int>(d * ratio_), samples_ - 1); }

    double end_of(int d) const { return std::min((d + 1) * ratio_, extent_); }

    int last_of(int d) const {
        return std::clamp(static_cast<int>(std::ceil(end_of(d))) - 1, first_of(d), samples_ - 1);
    }

    // Part of source sample i under destination d.
    double overlap(int d, int i) const {
        return std::max(0.0, std::min(end_of(d), i + 1.0) - std::max(d * ratio_, static_cast<double>(i)));
    }

    // Where the weights of destination d begin, for a window whose first sample is `first`. A window that would
    // end outside the source starts further left instead, with leading zeros.
    float *window(int d, int first) {
        start_[d] = std::min(first, samples_ - taps_);
        return weight_.data() + static_cast<size_t>(d) * taps_ + (first - start_[d]);
    }

    void area(int d) {
        const int first = first_of(d), last = last_of(d);
        double total = 0.0;
        for (int i = first; i <= last; ++i) total += overlap(d, i);
        float *weight = window(d, first);
        for (int i = first; i <= last; ++i) weight[i - first] = static_cast<float>(overlap(d, i) / total);
    }

    void bilinear(int d) {
        const double at = std::clamp((d + 0.5) * ratio_ - 0.5, 0.0, samples_ - 1.0);
        const int first = std::min(static_cast<int>(at), samples_ - taps_);
        const float second = static_cast<float>(at - first);
        float *weight = window(d, first);
        weight[0] = 1.0f - second;
        if (taps_ > 1) weight[1] = second;
    }

    double ratio_, extent_;
    int samples_, length_;
    int taps_ = 1;
    std::vector<int32_t> start_;
    std::vector<float> weight_;
};

}  // namespace remoteclip
