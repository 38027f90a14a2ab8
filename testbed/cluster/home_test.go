package cluster

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// stranger is an account that owns nothing.
var stranger = &account{name: "stranger", uid: 54321, gid: 54321}

func folder(t *testing.T, mode os.FileMode, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return dir
}

func TestReachesNeedsEveryParent(t *testing.T) {
	t.Parallel()
	// Not t.TempDir, whose parent is closed to others.
	base, err := os.MkdirTemp("", "reaches-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	folder(t, 0o755, base)
	if !stranger.reaches(folder(t, 0o755, base, "open")) {
		t.Error("an open folder is not reached; is the temporary folder of this machine closed?")
	}
	if stranger.reaches(folder(t, 0o700, base, "closed")) {
		t.Error("a closed folder is reached")
	}
	if stranger.reaches(folder(t, 0o755, base, "closed", "open")) {
		t.Error("an open folder within a closed one is reached")
	}
	self := &account{name: "self", uid: os.Getuid(), gid: os.Getgid()}
	if !self.reaches(filepath.Join(base, "closed", "open")) {
		t.Error("the owner does not reach its own folder")
	}
	if stranger.reaches(filepath.Join(base, "missing")) {
		t.Error("a missing folder is reached")
	}
	var nobodyElse *account
	if !nobodyElse.reaches(filepath.Join(base, "closed")) {
		t.Error("without another account everything is reached")
	}
}

// A home that is closed to others is where root's checkout usually is.
func TestClosedFolderGetsTheSameStandInEveryTime(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root runs the server as somebody else")
	}
	closed := folder(t, 0o700, t.TempDir(), "closed")
	log := slog.New(slog.DiscardHandler)
	first, err := home(filepath.Join(closed, "cluster"), stranger, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(first) })
	if first == filepath.Join(closed, "cluster") || !stranger.reaches(first) {
		t.Errorf("stand-in %s is not reached", first)
	}
	if second, err := home(filepath.Join(closed, "cluster"), stranger, log); err != nil || second != first {
		t.Errorf("second time: %s, %v; first: %s", second, err, first)
	}
	other, err := home(filepath.Join(closed, "other"), stranger, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	if other == first {
		t.Error("two folders share a stand-in")
	}
	if err := os.Chown(first, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := home(filepath.Join(closed, "cluster"), stranger, log); err == nil {
		t.Error("somebody else's folder was taken")
	}
}

func TestSweepTakesOnlyWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	now := time.Now()
	old := now.Add(-3 * time.Hour)
	for _, name := range []string{"left", "young", "busy", "unrelated"} {
		prefix := temporaryPrefix
		if name == "unrelated" {
			prefix = "somebodys-"
		}
		dir := folder(t, 0o755, base, prefix+name)
		folder(t, 0o755, dir, "data")
		if name == "busy" {
			if err := os.WriteFile(filepath.Join(dir, "data", "postmaster.pid"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if name != "young" {
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := sweep(base, now.Add(-leftAfter)); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{"somebodys-unrelated", temporaryPrefix + "busy", temporaryPrefix + "young"}; !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v", left, want)
	}
}
