package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a command line that cannot be read.
type usageError struct{ error }

func misread(cmd *cobra.Command, format string, args ...any) error {
	return usageError{fmt.Errorf("%s; see: %s --help", fmt.Sprintf(format, args...), cmd.CommandPath())}
}

// readable makes every command line that cannot be read an error that says what
// would be right, those included that cobra answers with the help of something
// else: `strangler nosuch --help`, `strangler help nosuch`.
func (c *cli) readable(root *cobra.Command) {
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if c.misread = noCommand(cmd, cmd.Flags().Args()); c.misread == nil {
			show(cmd, args)
		}
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if unknown := noCommand(cmd, cmd.Flags().Args()); unknown != nil {
			return unknown // no wonder that it lacks the flag
		}
		return misread(cmd, "%v", err)
	})
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil {
				err = noCommand(about, rest)
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	})
	explained(root.Commands())
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		if command.Name() == "completion" {
			for _, shell := range command.Commands() {
				shell.Args = exactly()
			}
		}
	}
}

// explained puts the one line that a command has in lists before its explanation,
// in whose place cobra would leave it out.
func explained(commands []*cobra.Command) {
	for _, command := range commands {
		if command.Long != "" {
			command.Long = command.Short + ".\n\n" + command.Long
		}
		explained(command.Commands())
	}
}

// group makes a command that only holds others: alone it shows its help.
func group(command *cobra.Command, held ...*cobra.Command) *cobra.Command {
	command.Args = cobra.ArbitraryArgs // readable tells what is none of its commands
	command.SuggestionsMinimumDistance = 2
	command.AddCommand(held...)
	return command
}

// noCommand is the error of a word behind a group that is none of its commands.
func noCommand(cmd *cobra.Command, words []string) error {
	if !cmd.HasSubCommands() || len(words) == 0 {
		return nil
	}
	near := cmd.SuggestionsFor(words[0])
	for i, name := range near {
		near[i] = cmd.CommandPath() + " " + name
	}
	for _, path := range named(cmd.Root(), words[0]) {
		if !slices.Contains(near, path) {
			near = append(near, path)
		}
	}
	if len(near) > 0 {
		return misread(cmd, "%s has no command %q, did you mean: %s", cmd.CommandPath(), words[0], strings.Join(near, ", or: "))
	}
	var names []string
	for _, held := range cmd.Commands() {
		if held.IsAvailableCommand() {
			names = append(names, held.Name())
		}
	}
	return misread(cmd, "%s has no command %q; it has %s", cmd.CommandPath(), words[0], strings.Join(names, ", "))
}

// named finds the commands of that name in the whole tree: whoever types
// `strangler verify` means `strangler data verify`.
func named(cmd *cobra.Command, name string) (paths []string) {
	for _, held := range cmd.Commands() {
		if held.Name() == name && held.IsAvailableCommand() {
			paths = append(paths, held.CommandPath())
		}
		paths = append(paths, named(held, name)...)
	}
	return paths
}

// exactly is cobra.ExactArgs with a sentence that says what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch takes := strings.Join(names, " "); {
		case len(args) > len(names) && len(names) == 0:
			return misread(cmd, "%s takes no arguments, and %q is one", cmd.CommandPath(), args[0])
		case len(args) > len(names):
			return misread(cmd, "%s takes %s, and %q is too much", cmd.CommandPath(), takes, args[len(names)])
		case len(args) < len(names):
			return misread(cmd, "%s takes %s, and %s is missing", cmd.CommandPath(), takes, names[len(args)])
		}
		return nil
	}
}

// atMostOne takes a capability or none.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return misread(cmd, "%s takes one capability or none, and %q is too much", cmd.CommandPath(), args[1])
	}
	return nil
}
