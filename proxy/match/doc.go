// Package match finds the one route that claims a request.
//
// It owns the normal form of a path, templates and the other conditions of a
// route, which of two routes is more specific, and what makes two of them tie.
// Its caller owns what a route leads to: it gets back the place of the route in
// the list that it compiled.
//
// A Path is what came, in normal form; a Request is that with what else decides;
// an Index is compiled from all routes and finds one of them; Check says beforehand
// which routes cannot be served together, so that no request has two answers.
//
// Everything here is pure and immutable once compiled. The cost of a match does
// not grow with the number of routes, but for those of one place in the tree whose
// segments, or paths, are told apart by their expressions alone: they are tried in turn.
package match
