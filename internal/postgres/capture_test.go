package postgres

import "testing"

// FuzzReceived feeds the outer protocol, of which pgoutput is the inner one.
func FuzzReceived(f *testing.F) {
	for _, message := range []string{"B\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x00\x07", "O\x00\x00\x00\x00\x00\x00\x00\x01name\x00", "?", ""} {
		f.Add([]byte("w0123456701234567\x00\x00\x00\x00\x00\x00\x00\x01" + message))
	}
	f.Add([]byte("k\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := received(data)
		if err != nil && r.Event != nil {
			t.Errorf("both an event and an error: %#v, %v", r.Event, err)
		}
	})
}
