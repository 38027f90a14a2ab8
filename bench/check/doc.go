// Package check asks the databases whether anything was lost, doubled or forked, once the load has stopped.
//
// It reads tables of the shop and nothing of the product: no gate, no position, no counter of the mover. What was
// acknowledged comes from the load; what is true comes from SQL. It writes nothing.
package check
