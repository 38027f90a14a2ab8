package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc: the kernel's USER_HZ is 100 on every architecture.
const tick = 10 * time.Millisecond

// counted says whether this system tells what a running process uses. Where it does not, those figures are left out.
const counted = runtime.GOOS == "linux"

// stat is what /proc says of a process and of its children that have ended.
type stat struct {
	parent        int
	own, children time.Duration
}

func readStat(pid string) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The second field is a name in parentheses that may hold anything.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("read usage of %s: %d fields", pid, len(fields))
	}
	var n [15]int64
	for _, i := range []int{1, 11, 12, 13, 14} { // parent, and four times
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return stat{}, fmt.Errorf("read usage of %s: %w", pid, err)
		}
	}
	return stat{int(n[1]), time.Duration(n[11]+n[12]) * tick, time.Duration(n[13]+n[14]) * tick}, nil
}

// serverCPU is what a PostgreSQL server has used, all its sessions included, those that have ended too.
func serverCPU(pid int) (time.Duration, error) {
	if !counted {
		return 0, nil
	}
	server, err := readStat(strconv.Itoa(pid))
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	sum := server.own + server.children
	for _, path := range all {
		// Whoever is gone by now is nobody's child, or counted by the next reading.
		if child, err := readStat(filepath.Base(path)); err == nil && child.parent == pid {
			sum += child.own
		}
	}
	return sum, nil
}

// resident reads how much memory a process has, and the most it had since forgetPeak.
func resident(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for name, into := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
			if len(fields) == 3 && fields[0] == name {
				kib, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("read memory of %d: %w", pid, err)
				}
				*into = kib * 1024
			}
		}
	}
	return now, peak, nil
}

// forgetPeak makes the present size the peak.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// processCPU is what one process has used.
func processCPU(pid int) (time.Duration, error) {
	s, err := readStat(strconv.Itoa(pid))
	return s.own, err
}
