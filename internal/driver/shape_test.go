package driver

import "testing"

// TestAShapeThatWasNotSentIsNotKept: the group that it was put together for never left, and
// the next one says nothing of it.
func TestAShapeThatWasNotSentIsNotKept(t *testing.T) {
	t.Parallel()
	n := newNames(1)
	put := func(sql string) *shape {
		n.begin(true)
		sh := n.shapeFor(sql)
		if err := sh.run(&n.lead); err != nil {
			t.Fatal(err)
		}
		return sh
	}
	unsent := put("begin")
	sent := put("discard temp")
	n.settleShapes(true)
	if unsent.kept || !sent.kept {
		t.Errorf("kept: %t of what was not sent, %t of what was", unsent.kept, sent.kept)
	}
	if put("begin") != unsent {
		t.Error("it has another name now")
	}
	n.settleShapes(false)
	if len(n.shapes) != 1 || n.shapes[0] != sent {
		t.Errorf("after an error there are %d shapes, want the one that the session has", len(n.shapes))
	}
}
