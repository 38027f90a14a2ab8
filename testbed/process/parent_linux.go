package process

import "syscall"

// bindToParent makes the kernel signal the child when the parent's thread ends.
func bindToParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
