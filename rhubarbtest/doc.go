// Package rhubarbtest tests a user's tasks in go test: without a server and,
// inside a testing/synctest bubble, without waiting.
//
// [New] gives an app in memory that remembers what was sent; the assertions
// [WasSent] and [NotSent] ask it. [App.Work] starts a real worker on it, so
// that retries, countdowns, time limits and streams behave as they do in
// production, in virtual time. [Invoke] runs one handler alone and shows what
// it emitted.
//
//	synctest.Test(t, func(t *testing.T) {
//		app := rhubarbtest.New(t, SendEmail)
//		signUp(t.Context(), app.App, "a@example.org") // the code under test
//		rhubarbtest.WasSent(t, app, SendEmail, Email{To: "a@example.org"})
//	})
//
// # Reading the source
//
// app.go holds App, assert.go the assertions, invoke.go the single run.
package rhubarbtest
