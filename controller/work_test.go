package controller

import (
	"testing"

	"strangler/capability"
)

// TestMappingIsNoMatterOfLines: a comment that somebody writes above it changes nothing of
// what a table becomes; everything else does.
func TestMappingIsNoMatterOfLines(t *testing.T) {
	t.Parallel()
	document := func() *capability.Data {
		return &capability.Data{Database: "postgres://there/orders", Tables: []capability.Table{{
			Table: "orders", As: "items", Columns: map[string]string{"a": "b"}, Omit: []string{"c"}, Where: "d", Lossy: true, Line: 7,
			Computed: []capability.Computed{{Column: "e", Forward: "f", Line: 9, Reverse: []capability.Reverse{{Column: "g", SQL: "h"}}}},
		}}, Border: []capability.Border{{Constraint: "i", AtSwitch: capability.BorderDrop, Line: 20}}}
	}
	was := mapping(document())
	for name, change := range map[string]func(*capability.Data){
		"lines": func(d *capability.Data) {
			d.TableLine, d.Tables[0].Line, d.Tables[0].Computed[0].Line, d.Border[0].Line = 1, 2, 3, 4
		},
		"address":      func(d *capability.Data) { d.Database = "" }, // it is compared by itself
		"rate and gap": func(d *capability.Data) { d.Rate, d.Gap = 7, 8 },
	} {
		d := document()
		change(d)
		if now := mapping(d); now != was {
			t.Errorf("%s: %s\nis not %s", name, now, was)
		}
	}
	for name, change := range map[string]func(*capability.Data){
		"table":      func(d *capability.Data) { d.Tables[0].Table = "x" },
		"as":         func(d *capability.Data) { d.Tables[0].As = "" },
		"mode":       func(d *capability.Data) { d.Tables[0].Mode = capability.Copy },
		"columns":    func(d *capability.Data) { d.Tables[0].Columns["a"] = "x" },
		"omit":       func(d *capability.Data) { d.Tables[0].Omit = nil },
		"where":      func(d *capability.Data) { d.Tables[0].Where = "x" },
		"lossy":      func(d *capability.Data) { d.Tables[0].Lossy = false },
		"column":     func(d *capability.Data) { d.Tables[0].Computed[0].Column = "x" },
		"forward":    func(d *capability.Data) { d.Tables[0].Computed[0].Forward = "x" },
		"constant":   func(d *capability.Data) { d.Tables[0].Computed[0].Constant = "x" },
		"reverse":    func(d *capability.Data) { d.Tables[0].Computed[0].Reverse[0].SQL = "x" },
		"no reverse": func(d *capability.Data) { d.Tables[0].Computed[0].Reverse = nil },
		"one less":   func(d *capability.Data) { d.Tables = nil },
		"border":     func(d *capability.Data) { d.Border = nil },
	} {
		d := document()
		change(d)
		if mapping(d) == was {
			t.Errorf("another %s is not seen", name)
		}
	}
}
