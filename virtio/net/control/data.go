package control

import "encoding/binary"

// Data is what is left to read of a command, where it lies in the guest's memory. Each
// byte is read once.
type Data struct {
	views [][]byte
	left  uint64
}

// newData makes Data of a chain's readable views. Their slice headers are changed, not
// the memory.
func newData(views [][]byte) Data {
	d := Data{views: views}
	for _, v := range views {
		d.left += uint64(len(v))
	}
	return d
}

// Len is the number of bytes left.
func (d *Data) Len() uint64 { return d.left }

// Take fills b with what is next. It returns false, with nothing taken, if there is less.
func (d *Data) Take(b []byte) bool {
	if uint64(len(b)) > d.left {
		return false
	}
	d.left -= uint64(len(b))
	for len(b) > 0 {
		n := copy(b, d.views[0])
		b = b[n:]
		d.pass(n)
	}
	return true
}

// Skip passes over n bytes. It returns false, with nothing passed, if there are less.
func (d *Data) Skip(n uint64) bool {
	if n > d.left {
		return false
	}
	d.left -= n
	for n > 0 {
		k := min(n, uint64(len(d.views[0])))
		n -= k
		d.pass(int(k))
	}
	return true
}

// pass moves on by n bytes of the first view.
func (d *Data) pass(n int) {
	if d.views[0] = d.views[0][n:]; len(d.views[0]) == 0 {
		d.views = d.views[1:]
	}
}

// only takes all that is left, which is false unless it is len(b) bytes.
func (d *Data) only(b []byte) bool { return d.left == uint64(len(b)) && d.Take(b) }

// u32 takes a number of 32 bits.
func (d *Data) u32() (uint32, bool) {
	var b [4]byte
	ok := d.Take(b[:])
	return binary.LittleEndian.Uint32(b[:]), ok
}
