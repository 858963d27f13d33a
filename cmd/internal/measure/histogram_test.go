package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBuckets checks that buckets follow each other without a gap and are as
// narrow as promised.
func TestBuckets(t *testing.T) {
	for b := range buckets - 1 {
		top := upper(b)
		if bucketOf(top) != b || bucketOf(top+1) != b+1 {
			t.Fatalf("bucket %d ends at %d, but %d is in %d and %d in %d", b, top, top, bucketOf(top), top+1, bucketOf(top+1))
		}
		if next := upper(b + 1); next > 128 && float64(next-top) > float64(top)/64+1 {
			t.Fatalf("bucket %d is %d wide at %d", b+1, next-top, top)
		}
	}
	if got := bucketOf(math.MaxUint64); got != buckets-1 {
		t.Errorf("the largest value is in bucket %d, want the last", got)
	}
}

func TestQuantiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var h Histogram
	var all []uint64
	for range 100000 {
		v := uint64(math.Exp(rnd.Float64() * 20))
		all = append(all, v)
		h.Add(int64(v))
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		exact := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.Quantile(q); math.Abs(float64(got)-float64(exact)) > float64(exact)/50+1 {
			t.Errorf("quantile %g is %d, want about %d", q, got, exact)
		}
	}
	if h.Max() != all[len(all)-1] || h.Quantile(1) != h.Max() {
		t.Errorf("maximum %d, quantile 1 %d, want %d", h.Max(), h.Quantile(1), all[len(all)-1])
	}
	if h.Count() != uint64(len(all)) {
		t.Errorf("count %d", h.Count())
	}
}

func TestSmallHistograms(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 {
		t.Error("an empty histogram has quantiles")
	}
	h.Add(-5)
	h.Add(1000)
	if h.Quantile(0.5) != 0 || h.Quantile(0.51) != 1000 || h.Mean() != 500 {
		t.Errorf("of 0 and 1000: p50 %d, p51 %d, mean %g", h.Quantile(0.5), h.Quantile(0.51), h.Mean())
	}
}
