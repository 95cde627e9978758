package parser_test

import (
	"fmt"
	"log"

	"example.com/chorus/pkg/socketio/parser"
)

// One event in both wire formats: as one text and one binary message, and as one MessagePack message.
func Example() {
	event := parser.Packet{
		Type:   parser.Event,
		Data:   []byte(`["photo",{"_placeholder":true,"num":0}]`),
		Binary: [][]byte{{1, 2, 3}},
	}
	for _, format := range []parser.Parser{parser.Default(), parser.Msgpack()} {
		messages, err := format.Encode(event)
		if err != nil {
			log.Fatal(err)
		}
		decoder := format.NewDecoder()
		for _, m := range messages {
			packet, err := decoder.Add(m)
			if err != nil {
				log.Fatal(err)
			}
			if packet != nil {
				fmt.Println(len(messages), packet.Type, string(packet.Data), packet.Binary)
			}
		}
		decoder.Close()
	}
	// Output:
	// 2 BINARY_EVENT ["photo",{"_placeholder":true,"num":0}] [[1 2 3]]
	// 1 EVENT ["photo",{"_placeholder":true,"num":0}] [[1 2 3]]
}
