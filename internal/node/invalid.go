package node

import (
	"fmt"
	"os"
	"strings"
)

// invalid is a setting whose value cannot work. It is named by its flag; who reads the settings knows where the value
// came from.
type invalid struct {
	flag string // without dashes
	err  error
}

func (e *invalid) Error() string { return "--" + e.flag + ": " + e.err.Error() }
func (e *invalid) Unwrap() error { return e.err }

// invalidf says what is wrong with the value of a flag. The text never holds a secret.
func invalidf(flag, format string, args ...any) error {
	return &invalid{flag, fmt.Errorf(format, args...)}
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// readSecret returns a secret that is given itself, or in a file of which the last line break does not count.
func readSecret(flag, value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", invalidf(flag+"-file", "there is a --%s too", flag)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", invalidf(flag+"-file", "%w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
