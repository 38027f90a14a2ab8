// Package match finds the one route that claims a request.
//
// It owns the normal form of a path, templates and the other conditions of a
// route, which of two routes is more specific, and what makes two of them tie.
// Its caller owns what a route leads to: it gets back the place of the route in
// the list that it compiled.
//
// Everything here is pure and immutable once compiled. The cost of a match does
// not grow with the number of routes.
package match
