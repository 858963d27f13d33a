package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio"
)

// What passes on a line. A request is one byte; one that is none of these is passed over. requestAwait and
// requestAgain have an answer, which is answerFiles with the mode, a byte, and the number of the group, four
// bytes, and the descriptors of the device and, if it came with one, of its group; or answerError and a text. The
// answer to requestGiveBack comes at the end of the line: answerEnd and a text, which is empty if nothing failed.
// answerBound may come before an answer to one of the former: the keeper has a function to give back.
// Before all requests answerReady comes on the first line, with a text, which is empty if the keeper can begin.
const (
	requestAwait    = 'a'
	requestAgain    = 'r'
	requestTakeOver = 't'
	requestGiveBack = 'b'

	answerFiles = 'f'
	answerError = 'e'
	answerEnd   = 'x'
	answerReady = 'k'
	answerBound = 'v'

	maxAnswer = 1024 // bytes
)

// answer makes an answer and the descriptors that go with it.
func answer(files vfio.Files, err error) (text []byte, fds []int) {
	if err != nil {
		return failure(answerError, err), nil
	}
	text = binary.LittleEndian.AppendUint32([]byte{answerFiles, byte(files.Mode)}, uint32(files.Group))
	fds = []int{files.DeviceFD}
	if files.GroupFD >= 0 {
		fds = append(fds, files.GroupFD)
	}
	return text, fds
}

// failure makes an answer that is a text: that of an error, "" for none.
func failure(kind byte, err error) []byte {
	text := []byte{kind}
	if err != nil {
		text = append(text, err.Error()...)
	}
	return text[:min(len(text), maxAnswer)]
}

// parseAnswer is the other side of answer. The descriptors are the caller's.
func parseAnswer(text []byte, fds []int) (files vfio.Files, err error) {
	switch {
	case text[0] == answerFiles && len(text) == 6 && (len(fds) == 2 || len(fds) == 1 && vfio.Mode(text[1]) == vfio.IOMMUFD):
		files = vfio.Files{Mode: vfio.Mode(text[1]), Group: int(binary.LittleEndian.Uint32(text[2:])), GroupFD: -1, DeviceFD: fds[0]}
		if len(fds) == 2 {
			files.GroupFD = fds[1]
		}
		return files, nil
	case text[0] == answerError && len(fds) == 0:
		err = errors.New(string(text[1:]))
	default:
		err = fmt.Errorf("the keeper answers %q with %d descriptors", text, len(fds))
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	return files, err
}
