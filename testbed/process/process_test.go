package process

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(exec.Command("sh", "-c", script), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestStopWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 1000")
	if err := p.Err(); err != nil || !p.Running() {
		t.Fatalf("running %v, err %v", p.Running(), err)
	}
	if err := p.Stop(syscall.SIGTERM, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if p.Running() || p.Err() == nil {
		t.Errorf("running %v, err %v after a signal", p.Running(), p.Err())
	}
	if err := p.Stop(syscall.SIGTERM, time.Second); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStopKillsWhoDoesNotListen(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // only read from
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo deaf; exec sleep 1000")
	cmd.Stdout = in
	p, err := Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "deaf\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := p.Stop(syscall.SIGTERM, 50*time.Millisecond); !errors.Is(err, ErrKilled) {
		t.Errorf("stop: %v, want ErrKilled", err)
	}
	if p.Running() {
		t.Error("still running")
	}
}

// What a killed process leaves behind still holds its files and memory: Gone must wait for it, Done must not.
func TestGoneWaitsForOrphans(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // read only
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo $!; wait")
	cmd.Stdout = in
	p, err := Start(cmd, syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Gone():
		t.Error("gone, with an orphan alive")
	case <-time.After(50 * time.Millisecond): // only a wrong answer comes at all
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Gone():
	case <-time.After(20 * time.Second):
		t.Error("not gone after its orphan")
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := Start(exec.Command("/nowhere/at/all"), syscall.SIGTERM); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestChildDiesWithItsParent starts this test binary as a parent, which starts a child and is then killed.
func TestChildDiesWithItsParent(t *testing.T) {
	if os.Getenv("TESTBED_PARENT") != "" {
		parent(t)
		return
	}
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithItsParent$")
	cmd.Env = append(os.Environ(), "TESTBED_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("expected a process id: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "killed", as it should be
	deadline := time.Now().Add(20 * time.Second)
	for alive(pid) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("child %d outlived its parent", pid)
		}
		time.Sleep(5 * time.Millisecond) // another process's end, which is not ours to wait for
	}
}

// alive says whether the process runs; one that is dead and not yet collected by init does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// parent starts a child from a thread that ends at once, which must not count as the parent's death, and then waits to
// be killed.
func parent(t *testing.T) {
	started := make(chan *Process)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		p, err := Start(exec.Command("sleep", "1000"), syscall.SIGTERM)
		if err != nil {
			t.Error(err)
		}
		started <- p
	}()
	p := <-started
	select {
	case <-p.Done():
		t.Fatal("the child died with the thread that asked for it")
	case <-time.After(200 * time.Millisecond):
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
	<-p.Done()
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	ports, err := FreePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if port == 0 || seen[port] {
			t.Errorf("port %d again", port)
		}
		seen[port] = true
	}
}
