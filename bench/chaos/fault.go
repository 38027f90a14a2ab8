package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// fault makes a target suffer, and returns what makes it well again.
func (w *world) fault(ctx context.Context, c cell) (heal func(context.Context) error, err error) {
	switch c.Target {
	case "controller":
		leads, _, err := w.leader(ctx)
		if err != nil {
			return nil, err
		}
		return w.disturb(leads, c.Fault, append([]*link{w.data[0], w.data[1], w.store}, w.admin[:]...), nil)
	case "proxy 1", "proxy 2":
		i := int(c.Target[len(c.Target)-1] - '1')
		return w.disturb(w.proxies[i], c.Fault, []*link{w.data[0], w.data[1], w.store}, w.admin[i])
	case "source", "target":
		side := legacy
		if (c.To == "legacy") == (c.Target == "source") {
			side = extracted
		}
		return w.database(side, c.Fault)
	case "consul":
		w.store.set(0, true)
		return func(context.Context) error { w.store.set(0, false); return nil }, nil
	default:
		return w.storage.disturb(ctx, c.Fault)
	}
}

// disturb disturbs a process. It is cut off from what it reaches by links, and from whoever reaches it by one, or
// both are slow.
func (w *world) disturb(p *program, fault string, out []*link, in *link) (func(context.Context) error, error) {
	pid := p.PID()
	switch fault {
	case "killed":
		return p.start, p.Kill()
	case "stopped":
		return func(context.Context) error { return signalAll(pid, syscall.SIGCONT) }, signalAll(pid, syscall.SIGSTOP)
	}
	suffer := (*link).set
	if fault == "slow" {
		suffer = (*link).delay
	}
	set := func(on bool) {
		for _, l := range out {
			suffer(l, pid, on)
		}
		if in != nil {
			suffer(in, 0, on)
		}
	}
	set(true)
	return func(context.Context) error { set(false); return nil }, nil
}

func (w *world) database(side int, fault string) (func(context.Context) error, error) {
	d := w.databases[side]
	switch fault {
	case "killed":
		return func(ctx context.Context) error { return d.Restart(ctx, nil) }, d.Kill()
	case "stopped":
		pid := d.PID()
		return func(context.Context) error { return signalAll(pid, syscall.SIGCONT) }, signalAll(pid, syscall.SIGSTOP)
	}
	w.data[side].set(0, true)
	return func(context.Context) error { w.data[side].set(0, false); return nil }, nil
}

// explains says which errors a client may see of a request by a proxy, for how long the fault and its mending take.
func (c cell) explains(o operation) error {
	switch c.Target {
	case "proxy 1", "proxy 2":
		if c.Target == fmt.Sprintf("proxy %d", o.via+1) {
			return nil // whatever a dead process says
		}
	case "source", "target":
		if o.kind == "502" || o.kind == "504" {
			return nil
		}
	}
	if o.kind == "503" {
		return nil
	}
	return errors.New("nothing explains it")
}
