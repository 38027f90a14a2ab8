package postgres

import "strangler/migrate"

func changeOf(kind migrate.ChangeKind) migrate.Change {
	return migrate.Change{Kind: kind, Key: [][]byte{[]byte("k")}}
}
