// Package files is the store on disk: the documents that people keep in one
// directory, and the state that the program keeps in another.
//
// It owns when bytes are read, written and believed: whole files by rename,
// one writer at a time across processes, the last good version of a document
// while the current one is broken, and a wake-up for whoever watches. What the
// bytes of a document mean is the caller's, who passes the decoder in.
//
// The state directory:
//
//	effective/NAME.json   what the proxies route by, by compare-and-set
//	proxies/ID.json       the registrations
//	good/FILE             the last good version of each document; for this user alone
//	ledger.jsonl          what was changed, by whom, with what outcome
//	ledger.jsonl.1        the part before it
//	lock                  held while anything is changed
package files
