// Package cli gives a program rhubarb's subcommands: run a worker, serve the
// HTTP API, call tasks and follow them, look after queues.
//
// A program of one's own is one line:
//
//	func main() { cli.Main(SendEmail, ResizeImage) }
//
// and then
//
//	./app worker                                   # run the tasks
//	./app serve                                    # the same over HTTP
//	./app call mail.send_email to=a@example.org --follow
//	./app queues
//
// A program that wants subcommands of its own beside these fills a [Program].
//
// # Where tasks are kept
//
// The flag --url, or RHUBARB_URL, or CELERY_BROKER_URL names the engine.
// Nothing set means the embedded engine in --data (RHUBARB_DATA), which is
// ./rhubarb-data unless said otherwise. On Redis, --results-url, or
// RHUBARB_RESULTS_URL, or CELERY_RESULT_BACKEND names another database for
// results.
//
// # Output and exit codes
//
// What was asked for goes to standard output and all else to standard error.
// With --json the output is JSON, one document per line, and so are errors and
// logs. Colours and progress bars appear on a terminal only, and never when
// NO_COLOR is set.
//
//	0    done
//	1    the thing asked for failed: the task failed, there is no such id
//	2    bad usage or bad input
//	3    the engine cannot be reached or opened
//	130  interrupted
//
// A worker or server that is told to stop and does so exits with 0.
//
// # Reading the source
//
// [Program.Run] in program.go, [Env] in env.go, how errors become exit codes
// in exit.go, and then one file per subcommand.
package cli
