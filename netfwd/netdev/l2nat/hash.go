package l2nat

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// hashed is a hash table of fixed size, half of it empty at least. It makes no memory after
// its start. Keys may be chosen by an enemy, so where they lie is secret.
type hashed[K comparable, V any] struct {
	slots []slot[K, V]
	used  int
	words func(K) (a, b uint64) // of a key
	seed  [2]uint64
}

type slot[K comparable, V any] struct {
	key   K
	value V
	full  bool
}

// newHashed makes a table with room for n entries.
func newHashed[K comparable, V any](n int, words func(K) (a, b uint64)) *hashed[K, V] {
	var seed [16]byte
	rand.Read(seed[:]) // never fails
	return &hashed[K, V]{
		slots: make([]slot[K, V], 1<<bits.Len(uint(2*n-1))), words: words,
		seed: [2]uint64{binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]) | 1},
	}
}

// goldenRatio is 2^64 divided by the golden ratio: bits without a pattern.
const goldenRatio = 0x9e3779b97f4a7c15

// home is where the search for a key begins. The words are mixed one after the other, twice,
// so that keys that differ in a few bits only do not lie side by side.
func (h *hashed[K, V]) home(k K) int {
	a, b := h.words(k)
	hi, lo := bits.Mul64(a^h.seed[0], h.seed[1])
	hi, lo = bits.Mul64(hi^lo^b, h.seed[1]^goldenRatio|1)
	hi, lo = bits.Mul64(hi^lo, goldenRatio^h.seed[0]|1)
	return int(hi^lo) & (len(h.slots) - 1)
}

// find returns where a key is, or the empty slot where it would go.
func (h *hashed[K, V]) find(k K) (i int, found bool) {
	for i = h.home(k); h.slots[i].full; i = (i + 1) & (len(h.slots) - 1) {
		if h.slots[i].key == k {
			return i, true
		}
	}
	return i, false
}

// put fills the empty slot that find has returned.
func (h *hashed[K, V]) put(i int, k K, v V) {
	h.slots[i] = slot[K, V]{k, v, true}
	h.used++
}

// remove empties a slot and closes the gap: of those after it up to the next empty one, each
// moves that may stand there.
func (h *hashed[K, V]) remove(i int) {
	h.used--
	mask := len(h.slots) - 1
	for j := (i + 1) & mask; h.slots[j].full; j = (j + 1) & mask {
		if (j-h.home(h.slots[j].key))&mask >= (j-i)&mask {
			h.slots[i] = h.slots[j]
			i = j
		}
	}
	h.slots[i] = slot[K, V]{}
}
