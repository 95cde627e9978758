package binaryjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"example.com/chorus/internal/binaryjson"
)

type rude struct{}

func (rude) MarshalJSON() ([]byte, error) { return []byte{'"', 0xff, '"'}, nil }

func TestAppend(t *testing.T) {
	const first, second = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	for _, test := range []struct {
		value any
		want  string
		found int
	}{
		{nil, `null`, 0},
		{"a<b>", `"a<b>"`, 0},
		{[]byte("x"), first, 1},
		{map[string]any{"a": []byte("x"), "b": []any{1, []byte{}}}, `{"a":` + first + `,"b":[1,` + second + `]}`, 2},
		{struct {
			Name string `json:"name"`
			Data *[]byte
		}{"n", &[]byte{1}}, `{"name":"n","Data":` + first + `}`, 1},
		{json.RawMessage(`{"a":1}`), `{"a":1}`, 0},
	} {
		got, attachments, err := binaryjson.Append([]byte("before "), nil, test.value)
		if err != nil || string(got) != "before "+test.want || len(attachments) != test.found {
			t.Errorf("Append(%v) = %s with %d attachments, %v; want %s with %d", test.value, got, len(attachments), err, test.want, test.found)
		}
	}
	got, attachments, err := binaryjson.Append(nil, [][]byte{{9}}, []byte("x"))
	if err != nil || string(got) != second || len(attachments) != 2 || !bytes.Equal(attachments[1], []byte("x")) {
		t.Errorf("Append behind another = %s with %q, %v", got, attachments, err)
	}
	if _, _, err := binaryjson.Append(nil, nil, rude{}); !errors.Is(err, binaryjson.ErrNotUTF8) {
		t.Errorf("Append of what is no UTF-8 = %v", err)
	}
	if _, _, err := binaryjson.Append(nil, nil, make(chan int)); err == nil {
		t.Error("Append of a channel was no error")
	}
}
