package demo_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// prefer makes the browser ask for a light or a dark page.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

func TestPageFitsAPhone(t *testing.T) {
	t.Parallel()
	b := browse(t, fresh(t).url, 390, 844)
	b.click("email-send")
	b.until(element("email-bar") + ".value >= 5")
	for _, d := range []string{"false", "true"} { // with and without the code
		eval[chromedp.Void](b, "document.querySelectorAll('details').forEach(d => { d.open = "+d+" })")
		if got := eval[int](b, "document.documentElement.scrollWidth"); got > 390 {
			t.Errorf("details open %s: the page is %d pixels wide, want 390", d, got)
		}
	}
	small := eval[[]string](b, `[...document.querySelectorAll("button, input, summary")]
		.filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)`)
	if len(small) > 0 {
		t.Errorf("less than 44 pixels high: %q", small)
	}
	b.clean()
}

// TestScreenshots takes the pictures of the README into the directory that
// RHUBARB_SCREENSHOTS names, each in the middle of some work.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("RHUBARB_SCREENSHOTS")
	d := fresh(t)
	for _, shot := range []struct {
		name, scheme  string
		width, height int
	}{
		{"light", "light", wide, high},
		{"dark", "dark", wide, high},
		{"phone", "light", 390, 844},
	} {
		t.Run(shot.name, func(t *testing.T) {
			b := browse(t, d.url, shot.width, shot.height)
			b.do(prefer(shot.scheme))
			b.click("story-start")
			tell(b, "The rhubarb is growing in the dark.")
			tell(b, "One can hear it, they say.")
			b.until(words(62))
			b.click("flaky-start")
			b.until(says("flaky-attempts", "attempt 2"))
			b.click("email-send")
			b.click("bulk")
			b.until(element("email-bar") + ".value >= 6")
			b.do(chromedp.Evaluate[chromedp.Void]("document.activeElement.blur(); scrollTo(0, 0)"))
			png, err := chromedp.Run(b, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if len(png) > 320_000 {
				t.Errorf("the picture has %d bytes, want at most 320000", len(png))
			}
			b.clean()
			if dir == "" {
				return
			}
			if err := os.WriteFile(filepath.Join(dir, "demo-"+shot.name+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
