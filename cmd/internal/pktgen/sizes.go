package pktgen

import (
	"fmt"
	"strconv"
	"strings"
)

// Sizes says how long frames are: all alike, or a mix. Safe to copy.
type Sizes struct {
	name  string
	parts []part
}

// part is one size of a mix, and how many of weights frames have it.
type part struct{ bytes, weight int }

// IMIX is the mix of frames that is called "simple IMIX", without FCS: 7 of 12 are of the least size,
// 4 of 594 bytes and one of the largest.
var IMIX = Sizes{"imix", []part{{MinFrame, 7}, {590, 4}, {1514, 1}}}

// OfSize is frames of one size in bytes, without FCS.
func OfSize(bytes int) Sizes { return Sizes{strconv.Itoa(bytes), []part{{bytes, 1}}} }

// ParseSizes reads "imix" or a number of bytes.
func ParseSizes(text string) (Sizes, error) {
	if text == IMIX.name {
		return IMIX, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < MinFrame || n > MaxFrame {
		return Sizes{}, fmt.Errorf("%q: want %s, or bytes without FCS from %d to %d", text, IMIX.name, MinFrame, MaxFrame)
	}
	return OfSize(n), nil
}

// String is what ParseSizes reads.
func (s Sizes) String() string { return s.name }

// Mixed is whether frames differ in size.
func (s Sizes) Mixed() bool { return len(s.parts) > 1 }

// Max is the largest size in bytes.
func (s Sizes) Max() int {
	largest := 0
	for _, p := range s.parts {
		largest = max(largest, p.bytes)
	}
	return largest
}

// Mean is the average in bytes.
func (s Sizes) Mean() float64 {
	var bytes, frames int
	for _, p := range s.parts {
		bytes, frames = bytes+p.bytes*p.weight, frames+p.weight
	}
	return float64(bytes) / float64(max(1, frames))
}

// Weights is how the kernel's generator is told: "60,7 590,4 1514,1".
func (s Sizes) Weights() string {
	var words []string
	for _, p := range s.parts {
		words = append(words, fmt.Sprintf("%d,%d", p.bytes, p.weight))
	}
	return strings.Join(words, " ")
}

// cycle is the sizes of frames that follow each other, spread as evenly as they go.
func (s Sizes) cycle() (bytes []int) {
	total := 0
	for _, p := range s.parts {
		total += p.weight
	}
	due := make([]int, len(s.parts))
	for range total {
		next := 0
		for i, p := range s.parts {
			if due[i] += p.weight; due[i] > due[next] {
				next = i
			}
		}
		due[next] -= total
		bytes = append(bytes, s.parts[next].bytes)
	}
	return bytes
}
