"""The tasks of the interop tests. peer/main.go has the same ones in Go.

A task that takes a gate waits until the file of that name exists.
"""
import os
import time
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from uuid import UUID

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery("interop")  # CELERY_BROKER_URL, CELERY_RESULT_BACKEND
app.conf.update(
    result_extended=os.environ.get("INTEROP_EXTENDED") == "1",
    task_send_sent_event=True,
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
)


def task(name, **options):
    return app.task(name="interop." + name, **options)


def wait(gate):
    while not os.path.exists(gate):
        time.sleep(0.01)


@task("add")
def add(x, y):
    return x + y


@task("echo")
def echo(value):
    return value


@task("types")
def types(when, local, day, clock, price, id, blob):
    """Returns what it gets, if each is of the type it should have here."""
    kinds = [datetime, datetime, date, time_of_day, Decimal, UUID, bytes]
    values = [when, local, day, clock, price, id, blob]
    for kind, value in zip(kinds, values):
        if type(value) is not kind:
            raise TypeError(f"{value!r} is no {kind.__name__}")
    if when.tzinfo is None or local.tzinfo is not None:
        raise TypeError(f"{when!r} must have a zone, and {local!r} none")
    return dict(when=when, local=local, day=day, clock=clock, price=price, id=id, blob=blob)


@task("fail")
def fail(text, number):
    raise ValueError(text, number)


@task("flaky", bind=True, max_retries=3)
def flaky(self, times):
    """Fails so many times before it succeeds.

    A worker sends the next try before it stores RETRY, so that one which comes
    too soon may have its SUCCESS overwritten.
    """
    if self.request.retries < times:
        raise self.retry(exc=KeyError("not yet"), countdown=1)
    return self.request.retries


@task("hopeless", bind=True, max_retries=1)
def hopeless(self):
    raise self.retry(exc=ValueError("never"), countdown=1)


@task("sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@task("tidy")
def tidy(seconds):
    """Tidies up at the soft limit and says so."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "slept"


@task("limited", soft_time_limit=1)
def limited(seconds):
    time.sleep(seconds)


@task("quiet", ignore_result=True)
def quiet():
    return "nobody hears it"


@task("reject", acks_late=True)
def reject():
    raise Reject("not mine", requeue=False)


@task("ignore")
def ignore():
    raise Ignore()


@task("progress", bind=True)
def progress(self, gate):
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
    wait(gate)
    return "done"


@task("custom", bind=True)
def custom(self, gate):
    self.update_state(state="BAKING", meta={"oven": 3, "hot": True})
    wait(gate)
    return "baked"


@task("tracked", track_started=True)
def tracked(gate):
    wait(gate)
    return "done"


@task("gated")
def gated(gate):
    wait(gate)
    return "open"


@task("note")
def note(file, word):
    """Appends a word to a file, and tells what is in there then."""
    with open(file, "a+", encoding="utf-8") as f:
        f.write(word + " ")
        f.flush()
        f.seek(0)
        return f.read().split()


@task("headers", bind=True)
def headers(self):
    get = self.request.get
    return [get("tenant"), get("trace")]


@task("about", bind=True)
def about(self):
    """What the task knows of itself."""
    r = self.request
    return dict(id=r.id, root_id=r.root_id, parent_id=r.parent_id, retries=r.retries, queue=r.delivery_info["routing_key"])


@task("parent", bind=True)
def parent(self, queue, child):
    add.apply_async((20, 22), queue=queue, task_id=child)
    return child


@task("size")
def size(text):
    return len(text)


@task("remember")
def remember(id):
    """An error callback: it gets the id of what failed."""
    return id
