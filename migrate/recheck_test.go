package migrate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"strangler/capability"
)

// TestARowThatDiffersForLongIsTold and one that was only on its way is not.
func TestARowThatDiffersForLongIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRecheck(&direction{from: capability.Legacy}, capability.Document{Data: &capability.Data{}}, nil)
		lasting, passing := Key{0, []string{"1"}}, Key{0, []string{"2"}}
		found := capability.Mismatch{Table: "orders", Key: "id=1", Detail: "column note differs"}
		for range 4 {
			r.suspect(lasting, time.Now(), found)
			r.suspect(passing, time.Now(), found)
			r.acquit(passing)
			if text := r.complaint(); text != "" {
				t.Fatalf("after less than %s: %s", suspectFor, text)
			}
			time.Sleep(suspectFor / 4) // of the bubble's clock
		}
		r.suspect(passing, time.Now(), found)
		time.Sleep(time.Second)
		if text := r.complaint(); !strings.HasPrefix(text, "1 rows differ") || !strings.Contains(text, "orders id=1: column note differs") {
			t.Errorf("after %s: %q", suspectFor, text)
		}
		r.acquit(lasting)
		if text := r.complaint(); text != "" {
			t.Errorf("after it was mended: %s", text)
		}
	})
}
