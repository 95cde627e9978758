package socketio

import (
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	var n names
	for text, want := range map[string]string{`"chat message"`: "chat message", `"a\u00e9\""`: `aé"`, `7`: "7"} {
		if got := n.of([]byte(text)); got != want {
			t.Errorf("of(%s) = %q, want %q", text, got, want)
		}
		if got := n.remember([]byte(text)); got != want {
			t.Errorf("remember(%s) = %q, want %q", text, got, want)
		}
	}
	known := []byte(`"chat message"`)
	if allocs := testing.AllocsPerRun(100, func() { n.of(known); n.remember(known) }); allocs != 0 {
		t.Errorf("a name that is known allocates %v times", allocs)
	}
	for i := range 2 * maxNames {
		if want := fmt.Sprint(i); n.remember([]byte(`"`+want+`"`)) != want {
			t.Errorf("remember(%d) is another name", i)
		}
	}
	if got := len(*n.known.Load()); got != maxNames {
		t.Errorf("%d names are remembered, want %d", got, maxNames)
	}
}
