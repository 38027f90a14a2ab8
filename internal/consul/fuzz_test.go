package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The capability in the name of an entry is the one it was made for.
func FuzzEntryName(f *testing.F) {
	for _, name := range []string{"", "orders", "a.b", "..", "7", "é/"} {
		f.Add(name)
	}
	s := NewStore(StoreOptions{})
	last := ""
	f.Fuzz(func(t *testing.T, name string) {
		entry := s.entryName(name)
		if got := ofEntry(entry); got != name {
			t.Errorf("%q became %q", name, got)
		}
		if entry <= last {
			t.Errorf("%q does not sort after %q", entry, last)
		}
		last = entry
	})
}

func FuzzOfEntry(f *testing.F) {
	for _, entry := range []string{"", ".", "..", "1.a.b", "1.a", "x"} {
		f.Add(entry)
	}
	f.Fuzz(func(_ *testing.T, entry string) { ofEntry(entry) })
}

// Whatever is in a snapshot: it is read or it is not, and its name stays in its
// directory.
func FuzzSnapshot(f *testing.F) {
	f.Add("s", []byte(`{"service":"s","instances":[{"address":"http://a:1","weight":2,"zone":"z"}]}`))
	f.Add("../s", []byte(`{"service":"../s","endpoints":["http://a:1"]}`))
	f.Add("", []byte("{"))
	f.Fuzz(func(t *testing.T, service string, content []byte) {
		d, err := NewDiscovery(Options{Address: "127.0.0.1:1", Snapshot: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		file := d.snapshotFile(service)
		if filepath.Dir(file) != d.saved {
			t.Fatalf("%q leads to %s", service, file)
		}
		if len(file) > 200 || strings.Contains(file, "\x00") || os.WriteFile(file, content, 0o600) != nil {
			return
		}
		d.Watch(service)
		if err := d.save(service, d.Instances(service)); err != nil {
			t.Fatal(err)
		}
		if got := d.recall(service); len(got) != len(d.Instances(service)) {
			t.Errorf("%v saved became %v", d.Instances(service), got)
		}
	})
}
