package event

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// load returns the machine's load averages over 1, 5 and 15 minutes, on Linux;
// elsewhere zeros. celery/utils/sysinfo.py load_average.
func load() (avg [3]float64) {
	if runtime.GOOS != "linux" {
		return avg
	}
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return avg // a sandbox without /proc
	}
	for i, s := range strings.Fields(string(text)) {
		if i == len(avg) {
			break
		}
		if avg[i], err = strconv.ParseFloat(s, 64); err != nil {
			return [3]float64{}
		}
	}
	return avg
}

// ident is how Celery's monitors tell our workers from their own, which are
// py-celery.
const ident = "go-rhubarb"

func ourSoftware(version string) software {
	if version == "" {
		version = moduleVersion()
	}
	return software{ident, version, system(runtime.GOOS)}
}

// moduleVersion is the version of this module in the running program.
func moduleVersion() string {
	const path, none = "github.com/rhubarb-go/rhubarb", "(devel)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return none
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == path && m.Version != "" {
			return m.Version
		}
	}
	return none
}

// system names the platform as Python's platform.system() does.
func system(goos string) string {
	switch goos {
	case "linux":
		return "Linux"
	case "darwin":
		return "Darwin"
	case "windows":
		return "Windows"
	case "freebsd":
		return "FreeBSD"
	}
	return goos
}
