"""A Celery client that does what it is told: a command per line of JSON on
stdin, an answer per line on stdout, and every event that it hears.
"""
import json
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import celery
from celery import Celery, chain
from celery.exceptions import TimeoutError
from kombu.utils.json import dumps, loads

from tasks import app

# It may miss a result that is stored while it subscribes: it has to look again.
oldest = celery.__version__.startswith("5.2")
protocol_1 = Celery("interop", task_protocol=1, task_send_sent_event=True)
said = threading.Lock()


def say(answer):
    line = dumps(answer)
    with said:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def later(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def options(call):
    """apply_async's options. One that is not there is not given."""
    o = dict(call["options"])
    if "expires_in" in o:
        o["expires"] = later(o.pop("expires_in"))
    if "eta_in" in o:
        zone = timezone(timedelta(hours=5, minutes=30))
        o["eta"] = later(o.pop("eta_in")).astimezone(zone)
    if "stamps" in o:
        o.update(o["stamps"], stamped_headers=list(o.pop("stamps")))
    o["queue"] = call["queue"]
    o["task_id"] = call["id"]
    for name in ("link", "link_error"):
        if name in call:
            o[name] = [signature(c) for c in call[name]]
    return o


def signature(call):
    s = app.signature(
        call["task"],
        args=loads(call["args"]),
        kwargs=loads(call["kwargs"]),
        immutable=call.get("immutable", False),
    )
    return s.set(**options(call))


def send(call):
    if "then" in call:
        chain(signature(call), *[signature(c) for c in call["then"]]).apply_async()
        return {}
    sender = protocol_1 if call.get("protocol") == 1 else app
    sender.send_task(
        call["task"],
        args=loads(call["args"]),
        kwargs=loads(call["kwargs"]),
        **options(call),
    )
    return {}


def get(id, timeout):
    result = app.AsyncResult(id)
    end = time.monotonic() + timeout
    try:
        while oldest and not result.ready() and time.monotonic() < end:
            try:
                result.get(timeout=2, propagate=False)
            except TimeoutError:  # or it did not hear of the end
                pass
        value = result.get(timeout=timeout, disable_sync_subtasks=False)
    except TimeoutError:
        return {"state": result.state, "error": "TimeoutError"}
    except Exception as exc:
        return {"state": result.state, "error": type(exc).__name__, "text": str(exc)}
    return {"state": result.state, "value": dumps(value)}


def key(id):
    return app.backend.get_key_for_task(id)


def record(id):
    """The stored text and how long it is kept, in seconds."""
    raw = app.backend.get(key(id))
    return {"record": raw and raw.decode(), "ttl": app.backend.client.ttl(key(id))}


def forget(id):
    app.AsyncResult(id).forget()
    return {}


def revoke(id, **arguments):
    app.control.revoke(id, **arguments)
    return {}


def ask(method, arguments, destination):
    """A remote control command, with the answers of all it is for."""
    answers = app.control.broadcast(
        method, arguments=arguments, destination=destination, reply=True, timeout=20, limit=len(destination)
    )
    return {"answers": answers}


def listen():
    try:
        hear()
    except Exception:
        traceback.print_exc()
        os._exit(1)


def hear():
    def heard(event):
        say({"event": event})

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard})
        consumer = receiver.itercapture(limit=None, timeout=None, wakeup=True)
        next(consumer)  # a worker's answer to the heartbeat that the receiver asks for
        say({"ready": celery.__version__})
        for _ in consumer:
            pass


commands = dict(send=send, get=get, record=record, forget=forget, revoke=revoke, ask=ask)


def obey(n, do, arguments):
    try:
        say({"n": n, **commands[do](**arguments)})
    except Exception as exc:
        say({"n": n, "failed": repr(exc)})


def main():
    threading.Thread(target=listen, daemon=True).start()
    with ThreadPoolExecutor(16) as pool:
        for line in sys.stdin:
            command = json.loads(line)
            pool.submit(obey, command["n"], command["do"], command.get("arguments", {}))


if __name__ == "__main__":
    main()
