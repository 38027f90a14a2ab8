package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// fromText tags a value that was not written in YAML: a default, or a variable
// of the environment. It may be read as whatever is wanted.
const fromText = "!!text"

// settle reads every setting into c. Viper decides which value of a key counts:
// the environment's, the file's, or the default. What it holds of the file are
// nodes of the tree, so that the winner still knows its line.
func settle(r *reading, root *yaml.Node, c *Config) error {
	v := viper.New()
	for _, one := range settings {
		v.SetDefault(one.name, one.fallback)
		// One by one: with AutomaticEnv a variable that happens to have the name of a
		// section would hide all of its keys.
		if err := v.BindEnv(one.name, variableOf(one.name)); err != nil {
			return fmt.Errorf("bind %s: %w", one.name, err)
		}
	}
	file := map[string]any{}
	r.section("", root).each(names(settings), func(name string, v value) { nest(file, name, v.node) })
	if err := v.MergeConfigMap(file); err != nil {
		return fmt.Errorf("merge %s: %w", r.file, err)
	}
	// A section without any key has its defaults nevertheless.
	if r.given("consul") {
		c.consul()
	}
	if r.given("legacy.concurrency") {
		c.unclaimed()
	}
	for _, one := range settings {
		if source, ok := r.source(v.Get(one.name), one.name); ok {
			one.read(source, c)
		}
	}
	return nil
}

// nest puts the node where viper looks for the key.
func nest(into map[string]any, name string, node *yaml.Node) {
	for {
		section, rest, nested := strings.Cut(name, ".")
		if !nested {
			into[name] = node
			return
		}
		inner, ok := into[section].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[section] = inner
		}
		into, name = inner, rest
	}
}

// variableOf names the variable that overrides a key.
func variableOf(name string) string {
	return "STRANGLER_" + strings.ToUpper(strings.ReplaceAll(written(name), ".", "_"))
}

// written is the key as it stands in the file.
func written(name string) string { return strings.TrimSuffix(name, "."+asWord) }

// source makes a value of what viper chose; false when there is none. An empty
// variable counts as one that is not set.
func (r *reading) source(chosen any, name string) (value, bool) {
	switch chosen := chosen.(type) {
	case *yaml.Node:
		return value{read: r, path: written(name), node: chosen}, true
	case string:
		if chosen == "" {
			return value{}, false
		}
		v := value{read: r, path: written(name), node: &yaml.Node{Kind: yaml.ScalarNode, Tag: fromText, Value: chosen}}
		if text, _ := os.LookupEnv(variableOf(name)); text != "" {
			v.variable = variableOf(name)
			if !r.given(v.path) {
				r.lines[v.path] = 0
			}
		}
		return v, true
	}
	return value{}, false
}
