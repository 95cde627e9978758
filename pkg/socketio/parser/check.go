package parser

import (
	"encoding/json"
	"fmt"
)

// CheckJSON refuses text that is no JSON value or nested deeper than MaxDepth. The error wraps ErrInvalidPayload or
// ErrTooDeep. It allocates nothing.
func CheckJSON(text []byte) error {
	if !json.Valid(text) {
		return fmt.Errorf("%w: no JSON", ErrInvalidPayload)
	}
	if tooDeep(text) {
		return ErrTooDeep
	}
	return nil
}

// CheckEvent refuses valid JSON that is not the data of an event: an array whose first element is a number or the name
// of an event that is not reserved. Official clients close their connection when they get anything else. The error
// wraps ErrInvalidPayload, and ErrReservedEvent.
func CheckEvent(data []byte) error {
	data = data[space(data, 0):]
	if !shapeFits(Event, data) {
		return fmt.Errorf("%w: event is no array", ErrInvalidPayload)
	}
	return checkName(data)
}
