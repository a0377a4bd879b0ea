package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configured writes a file of flags.
func configured(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rhubarb.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestServeReadsItsFlagsFromAFile(t *testing.T) {
	s := open(t)
	file := configured(t, `
# Who comes back gets what was said meanwhile.
keep = "1h"
group = ["chat.*", 'news']
max-body = 2_000
any-task = true
addr = "localhost:1" # which the command line says otherwise
`)
	url := s.served("-c", file)
	for group, want := range map[string]int{"chat.a": http.StatusAccepted, "news": http.StatusAccepted, "other": http.StatusNotFound} {
		if got := post(t, url+"/groups/"+group, `{"type":"x"}`); got != want {
			t.Errorf("group %s: got %d, want %d", group, got, want)
		}
	}
	if got := post(t, url+"/groups/news", `{"type":"`+strings.Repeat("x", 2000)+`"}`); got != http.StatusRequestEntityTooLarge {
		t.Errorf("more than max-body: got %d", got)
	}
}

func post(t *testing.T, url, body string) (status int) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	t.Setenv("RHUBARB_HTTP_TOKEN", "from the environment")
	s := open(t)
	url := s.served("--config", configured(t, `token = "from the file"`))
	for token, want := range map[string]int{"from the environment": http.StatusNotFound, "from the file": http.StatusUnauthorized} {
		req, err := http.NewRequest("GET", url+"/tasks/unknown", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (resp.StatusCode == http.StatusUnauthorized) != (want == http.StatusUnauthorized) {
			t.Errorf("token %q: got %d", token, resp.StatusCode)
		}
	}
}

func TestAFileIsCheckedAndTheLineNamed(t *testing.T) {
	for text, want := range map[string]string{
		`x = 1`:                          "rhubarb.toml:2: x is no flag of this subcommand",
		`help = true`:                    "rhubarb.toml:2: help is no flag",
		`keep = 3`:                       `rhubarb.toml:2: keep must be text: want a form like "…"`,
		`keep = "1 hour"`:                "rhubarb.toml:2: keep expected duration",
		`keep = "-1s"`:                   "rhubarb.toml:2: keep -1s is negative",
		`max-per-user = "5"`:             "rhubarb.toml:2: max-per-user must be a whole number",
		`max-per-user = -1`:              "rhubarb.toml:2: max-per-user -1 is negative",
		`worker = 1`:                     "rhubarb.toml:2: worker must be true or false",
		`group = "a"`:                    "rhubarb.toml:2: group must be a list of texts",
		`group = [1]`:                    "rhubarb.toml:2: group is a list of something else",
		`group = ["a", "["]`:             "rhubarb.toml:2: group [: syntax error in pattern",
		`jwt-key = "/not/there"`:         "rhubarb.toml:2: jwt-key: open /not/there: no such file",
		`forward-auth = "nowhere"`:       "rhubarb.toml:2: forward-auth: auth: the URL",
		`addr = "1:2:3"`:                 "rhubarb.toml:2: addr 1:2:3: ",
		`token = 1.5`:                    "rhubarb.toml:2: token has a value of a kind that no flag has",
		`[serve]`:                        "rhubarb.toml:2: serve is a table",
		`serve.addr = "x"`:               "rhubarb.toml:2: serve is a table",
		"grace = \"1s\"\ngrace = \"2s\"": "rhubarb.toml:3: grace is there twice",
		`addr =`:                         "rhubarb.toml:2: is not TOML",
		"addr = \"\x00\"":                "is not TOML",
	} {
		s := open(t)
		refused(t, s, want, configured(t, "# one\n"+text+"\n"))
	}
	s := open(t)
	refused(t, s, "no such file", "nowhere.toml")
	refused(t, s, "more than 1048576 bytes", configured(t, strings.Repeat("#\n", 1<<20)))
}

func refused(t *testing.T, s *shell, want, file string) {
	t.Helper()
	if exit, _, errs := s.run("serve", "-c", file); exit != 2 || !strings.Contains(errs, want) {
		t.Errorf("got exit %d, %q, want 2 and %q", exit, errs, want)
	}
}
