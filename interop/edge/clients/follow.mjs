// node follow.mjs eventsource|ws URL: what the client meets comes as a line of
// JSON each, and a line of input is sent.
import { createInterface } from "node:readline"
import { EventSource } from "eventsource"
import { WebSocket } from "ws"
import { eventSource, socket } from "./follow.js"

const [kind, url] = process.argv.slice(2)
const say = what => console.log(JSON.stringify(what))
const client = kind === "ws" ? socket(WebSocket, url, say) : eventSource(EventSource, url, say)
createInterface({ input: process.stdin }).on("line", text => client.send(text)).on("close", () => process.exit(0))
