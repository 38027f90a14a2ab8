package orders

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"extracted/internal/database"
	"testbed"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// The environment of a child process that serves until it kills itself.
const (
	crashAt      = "ORDERS_TEST_CRASH_AT"
	crashDB      = "ORDERS_TEST_DATABASE"
	crashGateway = "ORDERS_TEST_GATEWAY"
)

// serveUntilCrash is the child: a real service, ended by SIGKILL after the given step.
func serveUntilCrash() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	pool, err := database.Open(ctx, os.Getenv(crashDB), "test")
	fail(err)
	cfg := quick
	cfg.Gateway = os.Getenv(crashGateway)
	cfg.cut = func(step string) error {
		if step == os.Getenv(crashAt) {
			fail(syscall.Kill(os.Getpid(), syscall.SIGKILL))
			select {} // the signal ends the process; nothing further may happen in it
		}
		return nil
	}
	s, err := New(pool, cfg, slog.New(slog.DiscardHandler))
	fail(err)
	ln, err := listen("127.0.0.1:0")
	fail(err)
	fmt.Println(ln.Addr())
	fail(s.Run(ctx, ln))
}

// startDoomed starts a child on the shop's database and town, and returns its URL and a wait for its death.
func startDoomed(t *testing.T, s *shop, step string) (url string, dead func()) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashAt+"="+step, crashDB+"="+s.db, crashGateway+"="+s.town.URL)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatalf("child did not start: %v", cmd.Wait())
	}
	return "http://" + line.Text(), func() {
		err := cmd.Wait()
		if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != syscall.SIGKILL {
			t.Errorf("child ended otherwise: %v", err)
		}
	}
}

func TestKilledDuringCheckout(t *testing.T) {
	for _, c := range []struct{ step, product, want string }{
		{"begun", "1", confirmed},
		{"taken", "1", confirmed},
		{"charged", "1", confirmed},
		{"confirmed", "1", confirmed},
		{"refusal written", "4", refused},
		{"returned", "4", refused},
		{"refunded", "4", refused},
		{"refused", "4", refused},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, testbed.Database(t), newTown(t), quick)
			s.town.stock[4] = 5
			s.fill(c.product, "1")
			url, dead := startDoomed(t, s, c.step)
			if a, err := send(url, "ann", "POST", "/api/orders/checkout", `{"ref":"buy"}`); err == nil {
				t.Fatalf("answered %d: %s", a.status, a.body)
			}
			dead()
			s.work()
			s.settled(s.lastOrder(), c.want)
			if again := s.work(); again != 0 {
				t.Errorf("%d tasks came up again", again)
			}
			back := s.value(`SELECT count(*) FROM cart_lines`)
			if (back == 1) != (c.want == refused) {
				t.Errorf("%d lines in the cart", back)
			}
		})
	}
}

func TestKilledDuringCancel(t *testing.T) {
	for _, step := range []string{"begun", "returned", "refunded", "cancelled"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, testbed.Database(t), newTown(t), quick)
			s.fill("1", "2")
			id := s.order(s.want(s.checkOut(), 201)).ID
			url, dead := startDoomed(t, s, step)
			if a, err := send(url, "ann", "DELETE", "/api/orders/"+itoa(id)+"?ref=away", ""); err == nil {
				t.Fatalf("answered %d: %s", a.status, a.body)
			}
			dead()
			s.work()
			s.settled(id, cancelled)
			if s.town.stock[1] != 100 || s.value(`SELECT count(*) FROM order_log WHERE kind = 'cancel' AND ref = 'away'`) != 1 {
				t.Error("not cancelled exactly once")
			}
		})
	}
}
