// Command dashboard writes the Grafana dashboard of Chorus, as a model that Grafana 9 to 12 provision from a file:
//
//	go run ./dashboard > ../grafana/dashboards/chorus.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	text, err := encode()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "dashboard: %v\n", err)
		os.Exit(1)
	}
}

// encode returns the dashboard as it is checked in.
func encode() ([]byte, error) {
	d, err := build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	return append(text, '\n'), err
}
