//go:build !breakpoints

package main

import (
	"context"

	"strangler/capability"
)

// reach stops nothing: only a program that is built to be disturbed has breakpoints.
var reach func(ctx context.Context, name string, step capability.StepName, when string)
