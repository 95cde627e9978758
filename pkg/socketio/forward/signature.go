package forward

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// header carries the ticket of a forwarded request, and the reason in the answer to a refused one.
const header = "X-Chorus-Forward"

// MinSecret is how many bytes a secret must have at least.
const MinSecret = 16

const (
	version = "1"
	// freshness is how far the time of a ticket may be from the clock of the node that gets it.
	freshness = 5 * time.Second
	nonceSize = 16
	// maxTicket is more than any honest ticket has.
	maxTicket = 1024
)

// believed are the headers by which applications tell who asks. Others are not signed.
var believed = []string{"Origin", "Cookie", "Authorization", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Real-Ip"}

// nonce makes a ticket good for one request.
type nonce [nonceSize]byte

// ticket is what one node tells another about a request that it passes on.
type ticket struct {
	time   time.Time // in milliseconds
	nonce  nonce
	secure bool   // the client came over TLS
	client string // its address, as http.Request.RemoteAddr
	mac    []byte
}

func newTicket(r *http.Request) *ticket {
	t := &ticket{time: time.UnixMilli(time.Now().UnixMilli()), secure: r.TLS != nil, client: r.RemoteAddr}
	rand.Read(t.nonce[:]) // never fails
	return t
}

var encoding = base64.RawURLEncoding

// String returns the ticket as the value of the header.
func (t *ticket) String() string {
	return strings.Join([]string{version, strconv.FormatInt(t.time.UnixMilli(), 10), encoding.EncodeToString(t.nonce[:]), t.scheme(),
		encoding.EncodeToString([]byte(t.client)), encoding.EncodeToString(t.mac)}, " ")
}

func (t *ticket) scheme() string {
	if t.secure {
		return "https"
	}
	return "http"
}

var errTicket = errors.New("forward: malformed ticket")

func parseTicket(s string) (*ticket, error) {
	fields := strings.Split(s, " ")
	if len(s) > maxTicket || len(fields) != 6 || fields[0] != version {
		return nil, errTicket
	}
	ms, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return nil, errTicket
	}
	t := &ticket{time: time.UnixMilli(ms)}
	b, err := encoding.DecodeString(fields[2])
	if err != nil || len(b) != nonceSize {
		return nil, errTicket
	}
	copy(t.nonce[:], b)
	switch fields[3] {
	case "http":
	case "https":
		t.secure = true
	default:
		return nil, errTicket
	}
	client, err := encoding.DecodeString(fields[4])
	if err != nil {
		return nil, errTicket
	}
	t.client = string(client)
	if t.mac, err = encoding.DecodeString(fields[5]); err != nil || len(t.mac) != sha256.Size {
		return nil, errTicket
	}
	return t, nil
}

// claim is the part of a request that the signature covers besides the ticket's own fields.
type claim struct {
	purpose                   string // empty: to be forwarded
	method, target, sid, host string
	header                    http.Header
}

// sum returns the HMAC of ticket and claim. Every part is written with its length, so that none can pass for another.
func (t *ticket) sum(secret []byte, c *claim) []byte {
	h := hmac.New(sha256.New, secret)
	write(h, "chorus "+cmp.Or(c.purpose, "forward")+" "+version)
	for _, part := range []string{c.method, c.target, c.sid, c.host, t.scheme(), t.client} {
		write(h, part)
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.time.UnixMilli()))
	h.Write(ms[:])
	h.Write(t.nonce[:])
	for _, name := range believed {
		values := c.header[name]
		write(h, strconv.Itoa(len(values)))
		for _, v := range values {
			write(h, textproto.TrimString(v)) // as it is sent
		}
	}
	return h.Sum(nil)
}

func write(h hash.Hash, part string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(part)))
	h.Write(n[:])
	h.Write([]byte(part))
}

// secrets are the key of this node, and the one before it, which is good for a while: not all nodes change it at once.
type secrets struct {
	current, previous []byte
	until             time.Time // of previous
}

// sign returns the header of a request that is passed on. The claim is about the request as it is sent.
func (s *secrets) sign(r *http.Request, c *claim) string {
	t := newTicket(r)
	t.mac = t.sum(s.current, c)
	return t.String()
}

// fits reports whether the ticket was signed with a key of the cluster.
func (s *secrets) fits(t *ticket, c *claim) bool {
	if hmac.Equal(t.mac, t.sum(s.current, c)) {
		return true
	}
	return s.previous != nil && time.Now().Before(s.until) && hmac.Equal(t.mac, t.sum(s.previous, c))
}
