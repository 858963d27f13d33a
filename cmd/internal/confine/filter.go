package confine

import "golang.org/x/sys/unix"

// Offsets in struct seccomp_data, on which a filter works. Both architectures are
// little-endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16 // six of 64 bits
)

// Answers of a filter.
const (
	answerAllow   = unix.SECCOMP_RET_ALLOW
	answerKill    = unix.SECCOMP_RET_KILL_PROCESS
	answerRefuse  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	answerUnknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// strict, if it is not empty, has the process killed instead of refusing it a call.
// Tests set it when they link a program, to find calls that the list has forgotten and
// that the program takes no notice of.
var strict string

// assemble makes the filter program that lets the listed calls pass:
//
//	another architecture's calls     kill the process: numbers would mean other calls
//	listed, and the conditions hold  pass
//	clone3                           ENOSYS, which libraries take for an older kernel:
//	                                 its flags are in memory, where a filter cannot look
//	anything else                    EPERM
//
// Each call has a block of its own, which is entered and left with the number of the
// call in the accumulator, so that jumps are short however long the list is.
func assemble(calls []call) []unix.SockFilter {
	program := []unix.SockFilter{
		load(offArch),
		jumpIfEqual(auditArch, 1, 0),
		answer(answerKill),
		load(offNumber),
		jumpIfAtLeast(foreignCalls, 0, 1),
		answer(answerKill),
	}
	for _, c := range calls {
		program = append(program, block(c)...)
	}
	last := answerRefuse
	if strict != "" {
		last = answerKill
	}
	return append(program,
		jumpIfEqual(unix.SYS_CLONE3, 0, 1),
		answer(answerUnknown),
		answer(last),
	)
}

// block is the part of the program for one call.
func block(c call) []unix.SockFilter {
	if len(c.when) == 0 {
		return []unix.SockFilter{jumpIfEqual(c.number, 0, 1), answer(answerAllow)}
	}
	const perCondition = 3
	body := perCondition*len(c.when) + 2 // the answer, and to load the number again
	program := []unix.SockFilter{jumpIfEqual(c.number, 0, uint8(body))}
	for i, when := range c.when {
		left := perCondition * (len(c.when) - 1 - i)
		program = append(program,
			load(offArgs+8*uint32(when.arg)),
			statement(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, when.mask),
			jumpIfEqual(when.value, 0, uint8(left+1)),
		)
	}
	return append(program, answer(answerAllow), load(offNumber))
}

func statement(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func load(offset uint32) unix.SockFilter {
	return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

func answer(a uint32) unix.SockFilter { return statement(unix.BPF_RET|unix.BPF_K, a) }

func jumpIfEqual(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
}

func jumpIfAtLeast(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: k, Jt: yes, Jf: no}
}
