package push

import (
	"fmt"
	"net"
	"runtime"
	"sync"
)

// Options configures a Pool. The zero value is ready to use.
type Options struct {
	// Flushers is how many goroutines at most write to the connections that
	// are ready. They never wait for a socket. Zero means one per CPU that Go
	// may use.
	Flushers int
}

// maxParked is how many goroutines that may wait for a socket are kept for the
// next time.
const maxParked = 16

// Pool writes to its connections. It holds no goroutine while it has none, so
// that one need not be closed. Its methods may be called at once.
type Pool struct {
	flushers int
	counters counters

	queues sync.Pool // of *queue, empty
	chunks sync.Pool // of *chunk
	pens   sync.Pool // of *pen, those of flushers

	mu          sync.Mutex
	first, last *Conn // the ready list
	running     int   // flushers
	newest      *Conn // the list of all that have not ended
	open        int   // its length
	parked      int   // goroutines that wait for jobs
	closed      bool

	jobs chan job
	quit chan struct{}  // closed when no connection is left; then there is a new one
	wg   sync.WaitGroup // goroutines, and connections until their OnClose has returned
}

// job is what may wait for a socket or for OnClose.
type job struct {
	c  *Conn
	do func(*pen, *Conn)
}

// New returns an empty pool. A nil opts is the zero value. It starts nothing
// before something is pushed.
func New(opts *Options) *Pool {
	p := &Pool{jobs: make(chan job), quit: make(chan struct{})}
	if opts != nil {
		p.flushers = opts.Flushers
	}
	if p.flushers <= 0 {
		p.flushers = runtime.GOMAXPROCS(0)
	}
	p.queues.New = func() any { return &queue{items: make([]item, 0, 4)} }
	p.chunks.New = func() any { return new(chunk) }
	p.pens.New = func() any { return newPen() }
	return p
}

// Add gives the writing of nc to the pool: from now on nobody else writes to
// it, sets its write deadline or closes it. Reading is left to the caller, who
// calls [Conn.Close] when it fails. A nil opts is the zero value. After an error
// nc is still the caller's: ErrClosed after Close of the pool.
func (p *Pool) Add(nc net.Conn, opts *ConnOptions) (*Conn, error) {
	var o ConnOptions
	if opts != nil {
		o = *opts
	}
	if o.Policy > Conflate {
		return nil, fmt.Errorf("push: no policy has the number %d", o.Policy)
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.Linger <= 0 {
		o.Linger = defaultLinger
	}
	c := &Conn{
		pool: p, nc: nc, raw: rawConn(nc),
		limit: o.Limit, policy: o.Policy, timeout: o.WriteTimeout, linger: o.Linger, onClose: o.OnClose,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	p.wg.Add(1)
	p.open++
	c.older = p.newest
	if c.older != nil {
		c.older.newer = c
	}
	p.newest = c
	return c, nil
}

// remove takes a connection that has ended off the list of all.
func (p *Pool) remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	if c.older != nil {
		c.older.newer = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.newest = c.older
	}
	c.older, c.newer = nil, nil
	if p.open == 0 {
		close(p.quit)
		p.quit = make(chan struct{})
	}
}

// Close ends all connections at once, with ErrClosed unless they have a reason
// already, and waits until their OnClose functions and all goroutines have
// returned.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	all := make([]*Conn, 0, p.open)
	for c := p.newest; c != nil; c = c.older {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		_ = c.end(byPool, ErrClosed) // it only says what the reason is
		runtime.Gosched()            // see pen.flush
	}
	p.wg.Wait()
}

// makeReady puts a connection at the end of the ready list. Only who has made
// it busy may do that.
func (p *Pool) makeReady(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return // it has ended or is about to
	}
	if p.first == nil {
		p.first = c
	} else {
		p.last.ready = c
	}
	p.last = c
	if p.running < p.flushers {
		p.running++
		p.wg.Add(1)
		go p.flush()
	}
}

// flush writes to what is ready until nothing is.
func (p *Pool) flush() {
	defer p.wg.Done()
	w := p.pens.Get().(*pen)
	for c := p.next(); c != nil; c = p.next() {
		w.flush(c)
	}
	p.pens.Put(w)
}

// next takes a connection off the ready list. At nil the flusher is no longer
// counted as running.
func (p *Pool) next() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.first
	if c == nil {
		p.running--
		return nil
	}
	p.first, c.ready = c.ready, nil
	if p.first == nil {
		p.last = nil
	}
	return c
}

// hand gives a job to a goroutine that may wait, a new one if none is parked.
// The caller is counted in wg, by itself or by the connection.
func (p *Pool) hand(j job) {
	select {
	case p.jobs <- j:
	default:
		p.wg.Add(1)
		go p.work(j)
	}
}

func (p *Pool) work(j job) {
	defer p.wg.Done()
	w := newPen()
	for ok := true; ok; j, ok = p.park() {
		j.do(w, j.c)
	}
}

// park waits for a job, if few do.
func (p *Pool) park() (job, bool) {
	p.mu.Lock()
	if p.parked >= maxParked || p.open == 0 {
		p.mu.Unlock()
		return job{}, false
	}
	p.parked++
	quit := p.quit
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.parked--
		p.mu.Unlock()
	}()
	select {
	case j := <-p.jobs:
		return j, true
	case <-quit:
		return job{}, false
	}
}

// recycle keeps a queue for its next use. A nil one is ignored.
func (p *Pool) recycle(q *queue) {
	if q != nil {
		q.reset()
		p.queues.Put(q)
	}
}
