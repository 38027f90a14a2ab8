// Package config turns what people write, config.yaml and one document per
// capability, into the types of the core, and edits those documents in place.
//
// It owns the YAML: the keys, their defaults, the strictness, the expansion of
// ${NAME} from the environment, and the message for everything that is wrong,
// with its line and the mend. It reads config.yaml itself; of documents it sees
// bytes only, because where those are kept is the store's business. It asks
// neither databases nor upstreams whether they exist, and looks at the files that
// a tls section names only where that is asked for. The keys for people are in
// docs/configuration.md, which a test holds against the code.
package config
