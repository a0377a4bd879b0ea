// Package mailbox is what the engines' inboxes have in common: a bounded queue
// of what came for the channels of one process, and their names.
package mailbox
