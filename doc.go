// Package rhubarb runs background tasks: functions with a name, called from
// anywhere, done by a worker, with a result, a state and a live stream that a
// browser can follow.
//
// A task is defined once, as a package variable that belongs to no app:
//
//	var SendEmail = rhubarb.Define("mail.send_email", sendEmail)
//
//	type Email struct {
//		To      string `json:"to"`
//		Subject string `json:"subject,omitempty"`
//	}
//
//	func sendEmail(ctx context.Context, e Email) (string, error) {
//		for i := range 10 {
//			rhubarb.Progress(ctx, i+1, 10)
//		}
//		return "sent to " + e.To, nil
//	}
//
// and called through an [App], which knows the engine:
//
//	res, err := SendEmail.Delay(ctx, app, Email{To: "a@example.org"})
//	text, err := res.Get(ctx)
//
// # Arguments
//
// A struct's fields fill positional arguments in order and keyword arguments
// by their json name, so a Python caller may use either; a call from Go sends
// keyword arguments unless the task is [Positional]. Fields without omitempty
// or omitzero that are not pointers are required. Any other input type is one
// positional argument, and [None] is no argument at all. [Args] is the raw
// form. A worker checks arguments before it runs the handler: one that is
// missing, unknown or of the wrong type is a FAILURE that names it.
//
// # Outcomes
//
// A handler steers its task by what it returns: nil, an error (a failure, or a
// retry under the task's [RetryPolicy]), [Retry], [Reject] or [Ignore]. A panic
// is that task's failure. Tasks run at least once: a message is removed after
// its handler returned. [AckEarly] makes it at most once.
//
// # Streams
//
// [Emit] and [Progress] write to the task's own stream, which readers follow
// with [Result.Stream] or, in a browser, with an EventSource. A new attempt
// opens with a reset record, and an old one, should it still live, can write
// nothing more. The stream has exactly one end.
//
// # Reading the source
//
// [Define] in task.go, [App] in app.go, [Call] in call.go, the argument rules
// in args.go, and what a handler can do in invocation.go. Package worker runs
// tasks; package engine is what they are kept in.
package rhubarb
