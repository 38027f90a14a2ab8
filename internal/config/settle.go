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

// settled is what settle found out beside the values.
type settled struct {
	lines map[string]int  // of the sections and keys in the file
	set   map[string]bool // the keys that the file or the environment gives
	bad   map[string]bool // the keys that were refused
}

// settle reads every setting into c. Viper decides which value of a key counts:
// the environment's, the file's, or the default. What it holds of the file are
// nodes of the tree, so that the winner still knows its line.
func settle(r *reading, root *yaml.Node, c *Config) (*settled, error) {
	s := &settled{lines: map[string]int{}, set: map[string]bool{}, bad: map[string]bool{}}
	v := viper.New()
	v.SetEnvPrefix("STRANGLER")
	v.SetEnvKeyReplacer(envNames)
	v.AutomaticEnv()
	for _, one := range settings {
		v.SetDefault(one.key, one.fallback)
	}
	if err := v.MergeConfigMap(s.nodes(r, root)); err != nil {
		return nil, fmt.Errorf("merge %s: %w", r.file, err)
	}
	if s.lines["consul"] > 0 {
		c.consul()
	}
	for _, one := range settings {
		before := len(r.problems)
		if source, ok := s.source(r, v.Get(one.key), one.key); ok {
			one.read(source, c)
		}
		s.bad[one.key] = len(r.problems) > before
	}
	return s, nil
}

// nodes sorts the file's values into the nesting of the keys, and refuses the
// keys that no setting has.
func (s *settled) nodes(r *reading, root *yaml.Node) map[string]any {
	top := r.section("", root)
	nodes := map[string]any{}
	inner := map[string]*section{}
	for _, one := range settings {
		name, key, nested := strings.Cut(one.key, ".")
		if !nested {
			s.take(top, name, nodes)
			continue
		}
		if _, seen := nodes[name]; !seen {
			nodes[name] = map[string]any{}
			if v, ok := top.take(name); ok {
				inner[name] = v.section()
				s.lines[name] = v.node.Line
			}
		}
		if inner[name] != nil {
			s.take(inner[name], key, nodes[name].(map[string]any))
		}
	}
	if hold := inner["hold"]; hold != nil {
		if v, ok := hold.take("age"); ok {
			v.problem("is one of the times that must nest", "write it as switch.age")
		}
	}
	for _, one := range settings { // a slice, so that problems come in one order
		if name, _, _ := strings.Cut(one.key, "."); inner[name] != nil {
			inner[name].close()
			delete(inner, name)
		}
	}
	top.close()
	return nodes
}

func (s *settled) take(from *section, key string, into map[string]any) {
	if v, ok := from.take(key); ok {
		into[key] = v.node
		s.lines[v.path] = v.node.Line
		s.set[v.path] = true
	}
}

var envNames = strings.NewReplacer(".", "_")

func envName(key string) string { return "STRANGLER_" + strings.ToUpper(envNames.Replace(key)) }

// source makes a value of what viper chose; false when there is none.
func (s *settled) source(r *reading, chosen any, key string) (value, bool) {
	switch chosen := chosen.(type) {
	case *yaml.Node:
		return value{read: r, path: key, node: chosen}, true
	case string:
		if chosen == "" {
			return value{}, false
		}
		v := value{read: r, path: key, node: &yaml.Node{Kind: yaml.ScalarNode, Tag: fromText, Value: chosen}}
		if _, ok := os.LookupEnv(envName(key)); ok {
			s.set[key] = true
			v.path = "$" + envName(key)
		}
		return v, true
	}
	return value{}, false
}

// sound says whether all of the keys could be read.
func (s *settled) sound(keys ...string) bool {
	for _, key := range keys {
		if s.bad[key] {
			return false
		}
	}
	return true
}
