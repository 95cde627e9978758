package engineio

import (
	"strconv"
	"strings"
)

// Identity is the coding of what is not compressed.
const Identity = "identity"

// acceptable is the weight of Identity for a client that says nothing about it: it is taken when nothing better is.
const acceptable = 0.0001

// Codings are the content codings that a client accepts, with their weights (RFC 9110 section 12.5.3).
type Codings struct {
	named []weightedCoding // in the client's order
	other float64          // of those that are not named: the weight of "*"
	star  bool             // there is one
}

type weightedCoding struct {
	name   string
	weight float64
}

// ParseCodings reads the lines of Accept-Encoding. What makes no sense there has the weight 0.
func ParseCodings(lines []string) (c Codings) {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			switch name, weight := weighted(item); name {
			case "":
			case "*":
				c.other, c.star = weight, true
			default:
				c.named = append(c.named, weightedCoding{name, weight})
			}
		}
	}
	return c
}

// Weight says how much the client likes a coding, from 0 to 1; 0 is not at all. Identity is accepted unless it is
// excluded.
func (c Codings) Weight(name string) float64 {
	for _, n := range c.named {
		if n.name == name {
			return n.weight
		}
	}
	if name == Identity && (!c.star || c.other > 0) {
		return acceptable
	}
	return c.other
}

// weighted reads an item such as "gzip;q=0.5".
func weighted(item string) (name string, q float64) {
	name, parameters, _ := strings.Cut(item, ";")
	q = 1
	for p := range strings.SplitSeq(parameters, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(strings.TrimSpace(k), "q") {
			var err error
			if q, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil || !(q >= 0 && q <= 1) { // nor NaN
				q = 0
			}
		}
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "x-gzip" { // its old name
		name = "gzip"
	}
	return name, q
}
