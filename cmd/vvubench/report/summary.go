package report

import (
	"fmt"
	"slices"
)

// Summary is the median of some values with the smallest and the largest.
type Summary struct{ Median, Min, Max float64 }

// Summarize sums values up; of none, all is zero.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median := (sorted[(n-1)/2] + sorted[n/2]) / 2
	return Summary{Median: median, Min: sorted[0], Max: sorted[n-1]}
}

// format shows a summary with so many decimals.
func (s Summary) format(decimals int) string {
	return fmt.Sprintf("%.*f [%.*f-%.*f]", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

// Ratio compares two peers: the ratio of their medians, with the smallest and the
// largest ratio of samples of the same round, which were taken one after the other.
// It is zero where there is nothing to compare.
func Ratio(first, second []float64) Summary {
	base := Summarize(first).Median
	if base == 0 || len(second) == 0 {
		return Summary{}
	}
	var each []float64
	for i := range min(len(first), len(second)) {
		if first[i] != 0 {
			each = append(each, second[i]/first[i])
		}
	}
	s := Summarize(each)
	s.Median = Summarize(second).Median / base
	return s
}

// values picks one number of each of a peer's samples.
func (r *Result) values(peer int, pick func(*Sample) float64) (values []float64) {
	for i := range r.Samples[peer] {
		values = append(values, pick(&r.Samples[peer][i]))
	}
	return values
}

func mpps(s *Sample) float64 { return s.Mpps }
func busy(s *Sample) float64 { return s.BusyNS }
func idle(s *Sample) float64 { return s.Idle }

// latency picks one of a sample's latencies.
func latencyP50(s *Sample) float64 {
	if s.Latency == nil {
		return 0
	}
	return s.Latency.P50
}

func latencyP99(s *Sample) float64 {
	if s.Latency == nil {
		return 0
	}
	return s.Latency.P99
}

// Median is the median rate of a peer, in frames per second.
func (r *Result) Median(peer int) float64 { return Summarize(r.values(peer, mpps)).Median * 1e6 }

// unevenness is by how much the pair that differs most differs from the mean of
// all pairs, as a share of it. The generator holds a window of frames open for each
// pair: one that the forwarder neglects falls behind.
func unevenness(s *Sample) float64 {
	if len(s.PairsMpps) == 0 || s.Mpps == 0 {
		return 0
	}
	mean := s.Mpps / float64(len(s.PairsMpps))
	return max(slices.Max(s.PairsMpps)-mean, mean-slices.Min(s.PairsMpps)) / mean
}
