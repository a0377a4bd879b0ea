"""Records what Celery's own State makes of sequences of events.

    pip install celery==5.6.2; python state.py > state.json
"""
import json
import random
import sys

import celery
from celery.events.state import State

FIELDS = {
    'sent': lambda n: dict(name='a.b', args=f'({n},)', kwargs='{}', root_id='r', parent_id=None, retries=0,
                           eta=None, expires=None, queue='q', exchange='', routing_key='q'),
    'received': lambda n: dict(name='a.b', args=f'({n},)', kwargs='{}', root_id='r', parent_id=f'p{n}', retries=n,
                               eta=None, expires=f'2026-11-23T07:55:{n:02}+00:00'),
    'started': lambda n: {},
    'succeeded': lambda n: dict(result=repr(n), runtime=n + 0.5),
    'failed': lambda n: dict(exception=f'E({n})', traceback=f'tb{n}'),
    'retried': lambda n: dict(exception=f'R({n})', traceback=f'tb{n}'),
    'rejected': lambda n: dict(requeue=bool(n % 2)),
    'revoked': lambda n: dict(terminated=False, signum=None, expired=True),
    'cancelled': lambda n: {},
    'progress': lambda n: dict(name=f'n{n}'),
}
ALIVE = dict(active=1, processed=2, loadavg=[0.5, 0.25, 0.0], sw_ident='py', sw_ver='1', sw_sys='Linux')
TASK = ['uuid', 'name', 'state', 'args', 'kwargs', 'result', 'exception', 'traceback', 'eta', 'expires', 'retries',
        'runtime', 'client', 'queue', 'exchange', 'routing_key', 'root_id', 'parent_id', 'timestamp', 'clock',
        'sent', 'received', 'started', 'succeeded', 'failed', 'retried', 'revoked', 'rejected']
WORKER = ['hostname', 'pid', 'clock', 'freq', 'heartbeats', 'active', 'processed', 'loadavg',
          'sw_ident', 'sw_ver', 'sw_sys']


def events(rnd):
    for n in range(rnd.randint(1, 9)):
        host, received = rnd.choice(['w1@h', 'w2@h']), 1000 + n
        common = dict(utcoffset=0, pid=n, clock=n + 1, local_received=received)
        if rnd.random() < .25:
            kind = rnd.choice(['online', 'heartbeat', 'heartbeat', 'offline'])
            fields = dict(ALIVE, freq=rnd.choice([2.0, 5])) if rnd.random() < .8 else dict(freq=5)
            yield dict(common, type='worker-' + kind, hostname=host, timestamp=received - .5, **fields)
            continue
        kind = rnd.choice(list(FIELDS))
        yield dict(common, type='task-' + kind, hostname='gen1@h' if kind == 'sent' else host,
                   timestamp=received - rnd.choice([.5, 3]), uuid=rnd.choice(['t1', 't2']), **FIELDS[kind](n))


def record(seed):
    sequence, state = list(events(random.Random(seed))), State()
    for event in sequence:
        state.event(dict(event))
    return dict(
        events=sequence,
        tasks=[dict({k: getattr(t, k, None) for k in TASK}, worker=t.worker and t.worker.hostname)
               for _, t in sorted(state.tasks.items())],
        workers=[{k: getattr(w, k) for k in WORKER} for _, w in sorted(state.workers.items())],
    )


json.dump(dict(produced_by='state.py', celery=celery.__version__, sequences=[record(n) for n in range(100)]),
          sys.stdout, separators=(',', ':'))
