package engineio

import "testing"

func TestCodings(t *testing.T) {
	c := ParseCodings([]string{"gzip;q=0.5, br", "*;q=0.25"})
	for name, want := range map[string]float64{"gzip": 0.5, "br": 1, "deflate": 0.25, Identity: acceptable} {
		if got := c.Weight(name); got != want {
			t.Errorf("weight of %s = %v, want %v", name, got, want)
		}
	}
	if got := ParseCodings(nil).Weight("gzip"); got != 0 {
		t.Errorf("weight of gzip without the header = %v, want 0", got)
	}
}

func FuzzCodings(f *testing.F) {
	f.Add("gzip;q=0.5, br;q=1.0, *;q=0")
	f.Add("identity;q=nan, x-gzip;;q=inf;q")
	f.Fuzz(func(t *testing.T, line string) {
		c := ParseCodings([]string{line})
		for _, name := range []string{"br", "gzip", "deflate", Identity, "*", ""} {
			if w := c.Weight(name); !(w >= 0 && w <= 1) {
				t.Errorf("weight of %q in %q = %v", name, line, w)
			}
		}
	})
}
