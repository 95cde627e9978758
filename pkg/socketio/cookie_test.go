package socketio_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/chorus/pkg/socketio"
)

func TestCookie(t *testing.T) {
	for name, tt := range map[string]struct {
		cookie socketio.Cookie
		want   string // % stands for the id; with "error: ", what NewServer says
	}{
		"zero":        {socketio.Cookie{}, "io=%; Path=/; HttpOnly; SameSite=Lax"},
		"name":        {socketio.Cookie{Name: "node"}, "node=%; Path=/; HttpOnly; SameSite=Lax"},
		"path":        {socketio.Cookie{Path: "/socket.io/"}, "io=%; Path=/socket.io/; HttpOnly; SameSite=Lax"},
		"domain":      {socketio.Cookie{Domain: "app.example"}, "io=%; Path=/; Domain=app.example; HttpOnly; SameSite=Lax"},
		"age":         {socketio.Cookie{MaxAge: time.Hour}, "io=%; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
		"strict":      {socketio.Cookie{SameSite: http.SameSiteStrictMode}, "io=%; Path=/; HttpOnly; SameSite=Strict"},
		"other sites": {socketio.Cookie{SameSite: http.SameSiteNoneMode, Secure: true}, "io=%; Path=/; HttpOnly; Secure; SameSite=None"},
		"no SameSite": {socketio.Cookie{SameSite: http.SameSiteDefaultMode}, "io=%; Path=/; HttpOnly"},
		"partitioned": {socketio.Cookie{Secure: true, Partitioned: true}, "io=%; Path=/; HttpOnly; Secure; SameSite=Lax; Partitioned"},
		"scripts":     {socketio.Cookie{InsecureScriptAccess: true}, "io=%; Path=/; SameSite=Lax"},

		"bad name":          {socketio.Cookie{Name: "a b"}, "error: Name"},
		"bad path":          {socketio.Cookie{Path: "/;"}, "error: Path"},
		"bad domain":        {socketio.Cookie{Domain: "a b"}, "error: Domain"},
		"negative age":      {socketio.Cookie{MaxAge: -time.Second}, "error: MaxAge"},
		"too young":         {socketio.Cookie{MaxAge: time.Millisecond}, "error: MaxAge"},
		"none, not secure":  {socketio.Cookie{SameSite: http.SameSiteNoneMode}, "error: Secure"},
		"partitioned, open": {socketio.Cookie{Partitioned: true}, "error: Secure"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &socketio.Options{Cookie: &tt.cookie, GenerateID: func(*http.Request) (string, error) { return "id", nil }}
			if field, bad := strings.CutPrefix(tt.want, "error: "); bad {
				if _, err := socketio.NewServer(o); err == nil || !strings.Contains(err.Error(), "Options.Cookie") || !strings.Contains(err.Error(), field) {
					t.Errorf("NewServer = %v, want an error about Options.Cookie and %s", err, field)
				}
				return
			}
			_, front := start(t, o)
			resp, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=polling")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got, want := resp.Header.Get("Set-Cookie"), strings.Replace(tt.want, "%", "id", 1); got != want {
				t.Errorf("Set-Cookie = %q, want %q", got, want)
			}
		})
	}
}
