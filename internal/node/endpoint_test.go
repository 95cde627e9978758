package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineRecorder keeps the deadline that a handler sets for reading.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlineRecorder) SetReadDeadline(t time.Time) error {
	d.read = t
	return nil
}

// A body that never ends must not hold its connection for ever, and a long poll must not be cut.
func TestBodiesHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := boundBodies(http.NotFoundHandler())
		for name, tt := range map[string]struct {
			request *http.Request
			want    time.Time
		}{
			"no body":        {httptest.NewRequest(http.MethodGet, "/", nil), time.Time{}},
			"body":           {httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x")), time.Now().Add(bodyTimeout)},
			"unknown length": {httptest.NewRequest(http.MethodPost, "/", struct{ *strings.Reader }{strings.NewReader("x")}), time.Now().Add(bodyTimeout)},
		} {
			w := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(w, tt.request)
			if !w.read.Equal(tt.want) || w.Code != http.StatusNotFound {
				t.Errorf("%s: deadline %v, status %d, want %v and 404", name, w.read, w.Code, tt.want)
			}
		}
	})
}
