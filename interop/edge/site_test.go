package edge_test

import "testing"

// A page may follow another site that names its own in --origin. Its browser
// sends Last-Event-ID there without a preflight only if the id's characters are
// harmless.
func TestPageOfAnotherSiteFollowsAndComesBack(t *testing.T) {
	t.Parallel()
	home := direct(t)
	away := serve(t, "--origin", home.url)
	url := "http://" + away.addr
	room := "room." + newName()
	p := browse(t, home.url)
	all := []*client{
		p.follow(eventSource, url+"/groups/"+room+"/events"),
		p.follow(fetched, url+"/groups/"+room+"/events"),
		p.follow(socket, url+"/groups/"+room+"/ws"),
	}
	for _, c := range all {
		c.await(1, "open", isOpen)
	}
	for n := 1; n <= 3; n++ {
		if n == 2 {
			away.stop()
			away.start()
		}
		p.publish(url+"/groups/"+room, eventOf(n))
		for _, c := range all {
			c.hears(n)
		}
	}
	for _, c := range all {
		c.await(1, "lost", isLost)
		c.heard(3)
	}
}

// A page of a site that is not named gets nothing, and is told so for good.
func TestPageOfAStrangeSiteIsRefused(t *testing.T) {
	t.Parallel()
	home, away := direct(t), direct(t)
	p := browse(t, home.url)
	at := away.url + "/groups/room." + newName()
	c := p.follow(eventSource, at+"/events")
	c.await(1, "over", isOver)
	f := p.follow(fetched, at+"/events")
	f.await(1, "lost", isLost) // a script is not told why
	s := p.follow(socket, at+"/ws")
	s.await(1, "lost", func(l line) bool { return l.Code == 1006 })
	for _, c := range []*client{c, f, s} {
		if lines, _ := c.seen(); len(lines) > 0 && lines[0].Open {
			t.Errorf("%s was let in:\n%s", c.name, told(lines))
		}
	}
}
