package measure

import (
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestRatiosSayHowMuchBetterTheSecondIs(t *testing.T) {
	if got := ratios([]float64{10, 20}, []float64{30, 40}, true); !slices.Equal(got, []float64{3, 2}) {
		t.Errorf("more is better: got %v, want [3 2]", got)
	}
	if got := ratios([]float64{10, 20}, []float64{5, 40}, false); !slices.Equal(got, []float64{2, 0.5}) {
		t.Errorf("less is better: got %v, want [2 0.5]", got)
	}
}
