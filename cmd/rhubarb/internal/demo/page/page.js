import { connect, follow } from "/rhubarb.js";

const $ = (id) => document.getElementById(id);
const say = (id, text) => { $(id).textContent = text; };

// The ids of this page's tasks live in its address, so that a reload, or the
// same address in another window, shows the same tasks.
const known = new URLSearchParams(location.hash.slice(1));

function remember(key, id) {
  known.set(key, id);
  history.replaceState(null, "", "#" + known);
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  if (!answer.ok) {
    throw new Error((await answer.text()).slice(0, 200));
  }
  return answer.json();
}

// What is out of reach now.
const lost = new Set();

function watch(feed) {
  feed.onstatus = (status) => away(feed, status === "waiting" || (status === "connecting" && lost.has(feed)));
  return feed;
}

function away(feed, gone) {
  if (gone) lost.add(feed);
  else lost.delete(feed);
  const text = lost.size ? "The demo is away. This page waits for it and goes on by itself." : "";
  if ($("away").textContent !== text) say("away", text);
}

// TaskView calls a task and shows its stream. show has a method per kind of
// event: clear, reset, state, progress, data, end.
class TaskView {
  constructor(key, task, show) {
    this.key = key;
    this.task = task;
    this.show = show;
    if (known.has(key)) this.follow(known.get(key));
  }

  async call(kwargs) {
    const { id } = await post(`/tasks/${this.task}`, { kwargs });
    remember(this.key, id);
    this.follow(id);
  }

  follow(id) {
    this.id = id;
    this.feed?.close();
    this.feed = watch(follow(`/tasks/${encodeURIComponent(id)}/events`, { hidden: 1000 }));
    this.listen(this.feed);
  }

  listen(feed) {
    const show = this.show;
    const on = (kind, f) => feed.on(kind, (e) => f(e.data));
    this.attempt = 1;
    this.running = true;
    this.worker = null;
    show.clear(this);
    on("reset", ({ attempt }) => {
      this.attempt = attempt;
      this.worker = null;
      show.reset?.(this);
    });
    on("state", ({ status, result }) => {
      if (status === "STARTED") this.worker = result;
      show.state?.(this, status, result);
    });
    on("progress", ({ result }) => show.progress?.(this, result));
    on("message", (word) => show.data?.(this, word));
    on("end", ({ status, result }) => {
      this.running = false;
      show.end(this, status, result);
    });
  }

  where() {
    const on = this.worker ? ` on ${this.worker.hostname} (pid ${this.worker.pid})` : "";
    return `Attempt ${this.attempt}${on}`;
  }
}

const reason = (result) => [result?.exc_message ?? ""].flat().join(" ");

function guarded(statusId, f) {
  return async (event) => {
    event?.preventDefault();
    try {
      await f();
    } catch (err) {
      say(statusId, `That did not work: ${err.message}`);
    }
  };
}

// The story.

const storyButtons = (running) => {
  $("story-stop").disabled = !running;
  $("story-crash").disabled = !running;
};

const story = new TaskView("story", "demo.write_story", {
  clear() {
    say("story-text", "");
    say("story-status", "Waiting for a worker …");
    storyButtons(true);
    $("story-text").className = "paper writing";
  },
  reset(t) {
    say("story-text", "");
    say("story-status", `${t.where()}.`);
  },
  state(t) {
    say("story-status", `${t.where()}, writing.`);
  },
  data(t, word) {
    const span = document.createElement("span");
    span.textContent = word;
    const paper = $("story-text");
    const atEnd = paper.scrollHeight - paper.scrollTop - paper.clientHeight < 80; // nobody has scrolled up to read
    paper.append(span);
    if (atEnd) paper.scrollTop = paper.scrollHeight;
  },
  end(t, status, result) {
    const how = { SUCCESS: `done, ${result} words`, REVOKED: "stopped" }[status] ?? `${status} ${reason(result)}`;
    say("story-status", `${t.where()}: ${how}.`);
    storyButtons(false);
    $("story-text").className = "paper";
  },
});

$("story-start").addEventListener("click", guarded("story-status", () => story.call()));
$("story-stop").addEventListener("click", guarded("story-status", () => post(`/tasks/${story.id}/revoke`)));
$("story-crash").addEventListener("click", guarded("story-status", async () => {
  const dead = await post(`/kill?pid=${story.worker?.pid ?? 0}`);
  say("story-status", `${dead.name} (pid ${dead.pid}) is dead. Within ten seconds another one begins attempt ${story.attempt + 1} …`);
}));

// The email.

const email = new TaskView("email", "demo.send_email", {
  clear() {
    $("email-bar").value = 0;
    say("email-status", "Waiting for a worker …");
  },
  reset(t) {
    $("email-bar").value = 0;
    say("email-status", `${t.where()}.`);
  },
  progress(t, { current, total }) {
    $("email-bar").max = total;
    $("email-bar").value = current;
    say("email-status", `${t.where()}: ${Math.round(100 * current / total)}%`);
  },
  end(t, status, result) {
    const how = status === "SUCCESS" ? `100%, ${result}` : `${status} ${reason(result)}`;
    say("email-status", `${t.where()}: ${how}.`);
  },
});

$("email-form").addEventListener("submit", guarded("email-status", () => email.call({ to: $("email-to").value })));

// The flaky call.

function attemptRow(t) {
  const row = document.createElement("li");
  const state = document.createElement("strong");
  const why = document.createElement("span");
  state.textContent = "STARTED";
  why.textContent = `attempt ${t.attempt}`;
  row.append(state, why);
  row.className = "started";
  return row;
}

function mark(row, status, text) {
  row.className = status.toLowerCase();
  row.firstChild.textContent = status;
  row.lastChild.textContent = text;
}

const flaky = new TaskView("flaky", "demo.call_flaky", {
  clear() {
    $("flaky-attempts").replaceChildren();
    say("flaky-status", "Waiting for a worker …");
  },
  reset(t) {
    $("flaky-attempts").append(attemptRow(t));
    say("flaky-status", `${t.where()}.`);
  },
  state(t, status, result) {
    if (status !== "RETRY") return say("flaky-status", `${t.where()}.`);
    mark($("flaky-attempts").lastChild, status, reason(result));
    say("flaky-status", `Attempt ${t.attempt} failed. The next one is due in ${2 ** t.attempt} seconds …`);
  },
  end(t, status, result) {
    mark($("flaky-attempts").lastChild, status, status === "SUCCESS" ? result : reason(result));
    say("flaky-status", `${t.where()}: ${status === "SUCCESS" ? "done" : status}.`);
  },
});

$("flaky-start").addEventListener("click", guarded("flaky-status", () => flaky.call()));

// The clock needs nothing but what every browser has: it comes back by itself.

new EventSource("/sse/").onmessage = (e) => say("clock", e.data);

// The numbers have no past: each tab begins with the newest on its own connection.

watch(follow("/numbers", { hidden: 1000, share: false })).on("message", (e) => showNumbers(e.data));

function showNumbers(n) {
  for (const key of ["ready", "delayed", "held"]) {
    say(`n-${key}`, n[key].toLocaleString("en"));
  }
  say("kill-all", `kill -9 ${n.demo}`);
  draw(n.ready + n.delayed + n.held);
  showWorkers(n.workers);
}

const samples = new Array(60).fill(0);

function draw(total) {
  samples.push(total);
  samples.shift();
  const top = Math.max(20, ...samples);
  const points = samples.map((v, i) => `${(i * 240 / 59).toFixed(1)},${(42 - 40 * v / top).toFixed(1)}`).join(" ");
  document.querySelector("#graph .line").setAttribute("points", points);
  document.querySelector("#graph .area").setAttribute("points", `0,44 ${points} 240,44`);
}

// Rows are kept, so that a button does not lose the focus with every number.
function showWorkers(workers) {
  for (const w of workers) {
    const row = $(w.name) ?? newWorker(w.name);
    const again = w.restarts ? `, started again ${w.restarts === 1 ? "once" : w.restarts + " times"}` : "";
    row.querySelector(".pid").textContent = w.pid ? `pid ${w.pid}${again}` : "starting …";
    row.querySelector("button").dataset.pid = w.pid;
  }
}

function newWorker(name) {
  const row = document.createElement("li");
  const title = document.createElement("strong");
  const pid = document.createElement("span");
  const kill = document.createElement("button");
  row.id = name;
  title.textContent = name;
  pid.className = "pid";
  kill.type = "button";
  kill.className = "danger";
  kill.textContent = "kill -9";
  kill.setAttribute("aria-label", `kill -9 ${name}`);
  kill.addEventListener("click", () => {
    post(`/kill?pid=${kill.dataset.pid}`).catch((err) => { pid.textContent = err.message; });
  });
  row.append(title, pid, kill);
  $("workers").append(row);
  return row;
}

// Room is a chat. After a break it goes on after the last line it has.
class Room {
  static names = ["Ash", "Basil", "Clover", "Dill", "Fern", "Hazel", "Ivy", "Juniper", "Linden", "Maple", "Olive", "Poppy", "Rowan", "Sage", "Violet"];
  guests = new Set();

  constructor(path) {
    const n = Math.floor(Math.random() * 10000);
    this.name = sessionStorage.getItem("name") ?? `${Room.names[n % Room.names.length]} ${n % 100}`;
    sessionStorage.setItem("name", this.name);
    say("chat-name", this.name);
    // A guest is a tab, so tabs do not share this one.
    this.socket = connect(`${path}?${new URLSearchParams({ name: this.name })}`, { share: false });
    this.socket.on("message", (e) => this.hear(e.data));
    this.socket.onerror = ({ message }) => say("chat-status", message);
    this.socket.onstatus = (status) => {
      if (status === "waiting") say("chat-status", "Away, coming back by itself.");
    };
  }

  hear({ message, from, present, joined, left }) {
    if (message !== undefined) return this.show(message, from);
    if (present) this.guests = new Set(present);
    if (joined) this.guests.add(joined);
    if (left) this.guests.delete(left);
    const others = [...this.guests].filter((g) => g !== this.name).sort();
    say("chat-status", others.length ? `Here with you: ${others.join(", ")}.` : "Only you are here: open a second window.");
  }

  show(message, from) {
    const row = document.createElement("li");
    const who = document.createElement("b");
    who.textContent = from ?? "somebody";
    row.className = from === this.name ? "mine" : "";
    row.append(who, " ", message);
    const log = $("chat-log");
    log.append(row);
    while (log.childElementCount > 100) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }
}

const room = new Room("/ws/chat/garden/");

$("chat-form").addEventListener("submit", guarded("chat-status", async () => {
  const message = $("chat-text").value;
  await room.socket.send({ message });
  if ($("chat-text").value === message) $("chat-text").value = "";
}));

// The same room, as the tutorial has it: a bare WebSocket that hears the lines.

const bare = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/chat/garden/`);
bare.onmessage = (e) => say("chat-bare", e.data);

$("bulk").addEventListener("click", guarded("bulk-status", async () => {
  const { sent, ms } = await post("/bulk");
  say("bulk-status", `${sent.toLocaleString("en")} tasks accepted in ${ms} ms.`);
}));
