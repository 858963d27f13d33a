package measure

import "math/bits"

// Histogram counts durations in nanoseconds in log-linear buckets: 64 per
// doubling, so that a quantile is off by less than 1.6 %. Longer ones than about
// 18 minutes share the last bucket; the maximum is exact. The zero value is empty.
type Histogram struct {
	counts [buckets]uint64
	total  uint64
	max    uint64
	sum    uint64
}

const (
	subBits = 6
	maxBits = 40
	buckets = (maxBits - subBits + 1) << subBits
)

// Add counts one duration; negative ones count as 0.
func (h *Histogram) Add(ns int64) {
	v := uint64(max(ns, 0))
	h.counts[bucketOf(v)]++
	h.total++
	h.sum += v
	h.max = max(h.max, v)
}

func bucketOf(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return min(shift<<subBits+int(v>>shift), buckets-1)
}

// upper is the largest value of a bucket.
func upper(bucket int) uint64 {
	if bucket < 2<<subBits {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	return (uint64(bucket&(1<<subBits-1)|1<<subBits)+1)<<shift - 1
}

// Quantile returns the duration that the fraction q of all does not exceed, in
// nanoseconds; 0 of an empty histogram.
func (h *Histogram) Quantile(q float64) uint64 {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) {
		rank++
	}
	rank = min(max(rank, 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Max is the longest duration in nanoseconds.
func (h *Histogram) Max() uint64 { return h.max }

// Mean is the average in nanoseconds, 0 if empty.
func (h *Histogram) Mean() float64 {
	if h.total == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.total)
}
