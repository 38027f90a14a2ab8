//go:build !linux

package process

import "syscall"

// bindToParent does nothing: only Linux has a signal for the death of a parent. Elsewhere a parent that is killed with
// SIGKILL leaves its children running.
func bindToParent(*syscall.SysProcAttr, syscall.Signal) {}
