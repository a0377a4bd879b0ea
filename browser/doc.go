// Package browser has rhubarb.js, the client for browsers: it follows event
// streams and WebSockets over breaks, from where it was, lets go of them while
// a page is hidden, and has one connection for all tabs of a browser.
//
//	<script type="module">
//	import { follow } from "/rhubarb.js"
//	const task = follow("/tasks/ID/events")
//	task.on("progress", e => { bar.value = e.data.current })
//	</script>
//
// Package gateway serves it at /rhubarb.js. A program with a router of its own
// mounts [Handler]. docs/browser.md is its manual.
//
// A bare EventSource or WebSocket is enough to follow a stream or a group:
// nothing on the server's side needs this client.
//
// # Reading the source
//
// The client is TypeScript in src, of which build.js makes the one module in
// dist: the interface in api.ts, what is behind it in index.ts, one connection in stream.ts
// and socket.ts, coming back in line.ts, the page's life in page.ts, and the
// tabs in share.ts.
package browser
