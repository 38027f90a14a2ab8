// Package httpx is what the extracted services share about HTTP: JSON in and out, the trail of one
// transaction through several processes, one pooled client and one server with every timeout set.
// It knows nothing of orders, products or databases; which error becomes which status is decided by
// the service that answers.
package httpx
