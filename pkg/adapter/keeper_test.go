package adapter_test

import (
	"math"
	"regexp"
	"testing"

	"example.com/chorus/pkg/adapter"
)

func TestParseOffset(t *testing.T) {
	for text, want := range map[string]adapter.Offset{
		"0-0":             {},
		"1-2":             {Major: 1, Minor: 2},
		"1700000000000-0": {Major: 1700000000000},
		"18446744073709551615-18446744073709551615": {Major: math.MaxUint64, Minor: math.MaxUint64},
	} {
		if got, ok := adapter.ParseOffset(text); !ok || got != want || got.String() != text {
			t.Errorf("ParseOffset(%q) = %v, %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", "1", "1-", "-1", "+1-2", "1-+2", "1-2-3", "1.2", " 1-2", "1-2\n", "18446744073709551616-0", "0-18446744073709551616", "1_0-2", "٣-1"} {
		if got, ok := adapter.ParseOffset(text); ok {
			t.Errorf("ParseOffset(%q) = %v, want none", text, got)
		}
	}
}

func TestOffsetOrder(t *testing.T) {
	list := []adapter.Offset{{}, {Minor: 1}, {Minor: math.MaxUint64}, {Major: 1}, {Major: 1, Minor: 1}, {Major: 10}}
	for i, a := range list {
		for j, b := range list {
			if got := a.Compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%v.Compare(%v) = %d", a, b, got)
			}
		}
		if next := a.Next(); next.Compare(a) <= 0 {
			t.Errorf("%v.Next() = %v", a, next)
		}
	}
	if got, want := (adapter.Offset{Minor: math.MaxUint64}).Next(), (adapter.Offset{Major: 1}); got != want {
		t.Errorf("Next at the end of a number = %v, want %v", got, want)
	}
}

func FuzzParseOffset(f *testing.F) {
	f.Add("1-2")
	f.Add("+1-2")
	f.Add("1700000000000-18446744073709551615")
	valid := regexp.MustCompile(`^[0-9]+-[0-9]+$`)
	f.Fuzz(func(t *testing.T, text string) {
		o, ok := adapter.ParseOffset(text)
		if ok && !valid.MatchString(text) {
			t.Fatalf("ParseOffset(%q) = %v", text, o)
		}
		if again, ok := adapter.ParseOffset(o.String()); !ok || again != o {
			t.Fatalf("ParseOffset(%q) = %v, %t", o.String(), again, ok)
		}
	})
}
