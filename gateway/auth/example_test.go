package auth_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// Permissions are patterns. What no pattern allows is refused.
func ExampleGrant_Allows() {
	g := auth.Grant{User: "ada", ReadGroups: []string{"chat.*"}, CallTasks: []string{"mail.send"}}
	fmt.Println(g.Allows(auth.ReadGroup, "chat.lobby"))
	fmt.Println(g.Allows(auth.WriteGroup, "chat.lobby"))
	fmt.Println(g.Allows(auth.CallTask, "mail.send"))

	// Output:
	// true
	// false
	// true
}

// An application signs a token with a secret that it shares with the gateway.
func ExampleNewJWT() {
	secret := []byte("0f5a6d2c9e8b47311c7d2a90b4e6f8d3") // a program would read it
	tokens, err := auth.NewJWT(auth.JWTOptions{Secret: secret, Audience: "rhubarb"})
	if err != nil {
		log.Fatal(err)
	}
	grant := auth.Grant{CallTasks: []string{"mail.*"}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub":     "ada",
		"aud":     "rhubarb",
		"exp":     time.Now().Add(time.Hour).Unix(),
		"rhubarb": grant.Claim(),
	}).SignedString(secret)
	if err != nil {
		log.Fatal(err)
	}

	r := httptest.NewRequest("POST", "/tasks/mail.send", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	g, err := tokens.Authenticate(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.User, g.Allows(auth.CallTask, "mail.send"), g.Allows(auth.CallTask, "db.drop"))

	// Output:
	// ada true false
}

// An identity provider signs tokens and publishes its keys.
func ExampleNewJWT_keySet() {
	key := edKey()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(jwks(jwk(key.Public(), "2026-01")))
	}))
	defer provider.Close()
	token := sign(jwt.SigningMethodEdDSA, key, jwt.MapClaims{
		"sub": "ada", "iss": "https://id.example.org", "aud": "rhubarb", "exp": time.Now().Add(time.Hour).Unix(),
	}, "kid", "2026-01")

	tokens, err := auth.NewJWT(auth.JWTOptions{
		KeySetURL: provider.URL, // https://id.example.org/.well-known/jwks.json
		Issuer:    "https://id.example.org",
		Audience:  "rhubarb",
	})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/tasks/42/events?access_token="+token, nil)
	g, err := tokens.Authenticate(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.User)

	// Output:
	// ada
}

// A web application that has sessions of its own answers for the gateway.
func ExampleNewForward() {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "ada's" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Rhubarb-User", "ada")
		w.Header().Set("X-Rhubarb-Grant", `{"groups": {"read": ["chat.*"]}}`)
	}))
	defer app.Close()

	sessions, err := auth.NewForward(auth.ForwardOptions{URL: app.URL, CacheFor: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	for _, cookie := range []string{"session=ada's", "session=guessed"} {
		r := httptest.NewRequest("GET", "/groups/chat.lobby", nil)
		r.Header.Set("Cookie", cookie)
		g, err := sessions.Authenticate(r)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(g.User, g.Allows(auth.ReadGroup, "chat.lobby"))
	}

	// Output:
	// ada true
	// auth: you are not logged in, or no longer: log in and try again
}

// A page gets a ticket from the application it belongs to and puts it into the
// URL of an EventSource or a WebSocket, which cannot send headers.
func ExampleTickets() {
	tickets, err := auth.NewTickets([]byte("0f5a6d2c9e8b47311c7d2a90b4e6f8d3"))
	if err != nil {
		log.Fatal(err)
	}
	ticket, err := tickets.Issue("ada", auth.ReadStream, "42", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}

	g, err := tickets.Authenticate(httptest.NewRequest("GET", "/tasks/42/events?ticket="+ticket, nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.User, g.Allows(auth.ReadStream, "42"), g.Allows(auth.ReadStream, "43"))

	// Output:
	// ada true false
}

// To change a secret, sign with the new one and still take the old one.
func ExampleNewTickets_rotation() {
	before, after := []byte("0f5a6d2c9e8b47311c7d2a90b4e6f8d3"), []byte("a81f03bb5e1746c2b9d05f7ce2314d68")
	old, err := auth.NewTickets(before)
	if err != nil {
		log.Fatal(err)
	}
	ticket, err := old.Issue("ada", auth.ReadGroup, "news", 0)
	if err != nil {
		log.Fatal(err)
	}

	tickets, err := auth.NewTickets(after, before)
	if err != nil {
		log.Fatal(err)
	}
	g, err := tickets.Authenticate(httptest.NewRequest("GET", "/?ticket="+ticket, nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.User)

	// Output:
	// ada
}

// Visitors may read the news; those who bring a ticket may do what it says. A
// bad ticket is refused, not taken for a visitor.
func ExampleAny() {
	tickets, err := auth.NewTickets([]byte("0f5a6d2c9e8b47311c7d2a90b4e6f8d3"))
	if err != nil {
		log.Fatal(err)
	}
	all := auth.Any(tickets, auth.Anonymous(auth.Grant{ReadGroups: []string{"news"}}))

	g, err := all.Authenticate(httptest.NewRequest("GET", "/groups/news", nil))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.Allows(auth.ReadGroup, "news"))
	_, err = all.Authenticate(httptest.NewRequest("GET", "/groups/news?ticket=v1.forged.forged", nil))
	fmt.Println(err)

	// Output:
	// true
	// auth: the signature of the ticket does not fit: send it as it was issued, to the server it is for
}

// A user has so many connections and no more.
func ExampleLimiter_Enter() {
	limiter := auth.NewLimiter(1)
	leave, _ := limiter.Enter("ada")
	_, ok := limiter.Enter("ada")
	fmt.Println(ok)
	leave()
	_, ok = limiter.Enter("ada")
	fmt.Println(ok)

	// Output:
	// false
	// true
}

// Who was banned loses the connections that are open.
func ExampleLimiter_Kick() {
	limiter := auth.NewLimiter(0)
	unregister := limiter.Register("ada", func(reason string) {
		fmt.Println("closed:", reason) // a handler would close its connection
	})
	defer unregister()
	fmt.Println(limiter.Kick("ada", "banned"))

	// Output:
	// closed: banned
	// 1
}
