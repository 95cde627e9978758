package redisadapter

import "strings"

// slotCount is the number of slots of a Redis Cluster.
const slotCount = 16384

// slotOf returns the slot of a channel: that of its hash tag, if it has one (Redis Cluster specification, "Hash tags").
func slotOf(channel string) int {
	if start := strings.IndexByte(channel, '{'); start >= 0 {
		if n := strings.IndexByte(channel[start+1:], '}'); n > 0 {
			channel = channel[start+1 : start+1+n]
		}
	}
	var crc uint16
	for i := range len(channel) {
		crc = crc<<8 ^ crc16[byte(crc>>8)^channel[i]]
	}
	return int(crc) % slotCount
}

// crc16 is the table of CRC-16/XMODEM, which Redis Cluster hashes with.
var crc16 = func() (table [256]uint16) {
	const polynomial = 0x1021
	for i := range table {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ polynomial
			} else {
				c <<= 1
			}
		}
		table[i] = c
	}
	return table
}()
