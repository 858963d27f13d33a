package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vvufwd/vfio"
)

// What passes on a line. A request is one byte. An answer is answerFiles with the number of
// the group, four bytes, and the descriptors of group and device; or answerError and a text.
const (
	requestAwait = 'a'

	answerFiles = 'f'
	answerError = 'e'

	maxAnswer = 1024 // bytes
)

// answer makes an answer and the descriptors that go with it.
func answer(files vfio.Files, err error) (text []byte, fds []int) {
	if err != nil {
		text = append([]byte{answerError}, err.Error()...)
		return text[:min(len(text), maxAnswer)], nil
	}
	text = binary.LittleEndian.AppendUint32([]byte{answerFiles}, uint32(files.Group))
	return text, []int{files.GroupFD, files.DeviceFD}
}

// parseAnswer is the other side of answer. The descriptors are the caller's.
func parseAnswer(text []byte, fds []int) (files vfio.Files, err error) {
	switch {
	case text[0] == answerFiles && len(text) == 5 && len(fds) == 2:
		return vfio.Files{Group: int(binary.LittleEndian.Uint32(text[1:])), GroupFD: fds[0], DeviceFD: fds[1]}, nil
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
