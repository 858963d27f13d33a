package cli

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Size is a number of bytes on the command line, with a binary unit: 4096, 512K, 256M,
// 4G, 1T.
type Size uint64

var sizeUnits = []string{"", "K", "M", "G", "T"}

// String is the size as Set takes it, with the largest unit that divides it.
func (s *Size) String() string {
	n, unit := uint64(*s), 0
	for n > 0 && n%1024 == 0 && unit+1 < len(sizeUnits) {
		n /= 1024
		unit++
	}
	return strconv.FormatUint(n, 10) + sizeUnits[unit]
}

// Set implements flag.Value.
func (s *Size) Set(text string) error {
	digits := strings.TrimRight(text, "KMGTkmgt")
	shift, known := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.ToUpper(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || !known || n == 0 || bits.Len64(n)+shift > 63 {
		return errors.New("want a size such as 256M or 4G")
	}
	*s = Size(n << shift)
	return nil
}

// Bytes is a number of bytes for people: "94.2 GiB".
func Bytes(n uint64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit+1 < len(units) {
		value /= 1024
		unit++
	}
	text := strconv.FormatFloat(value, 'f', 1, 64)
	return fmt.Sprint(strings.TrimSuffix(text, ".0"), " ", units[unit])
}
