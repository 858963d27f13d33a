package appliance

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// floodLines is more than PID 1 keeps of what no one reads.
const floodLines = 100_000

// flood is a child that has much to say, each line without a pause.
func flood() {
	for i := range floodLines {
		fmt.Fprintf(os.Stderr, "line %d\n", i)
	}
}

// A console that no one reads stops neither the child nor PID 1: the machine is off when
// the child has ended, even if it crashes, which takes some words too.
func TestNoOneReadsTheConsole(t *testing.T) {
	for _, role := range []string{"flood and fail", "flood and panic"} {
		t.Run(role, func(t *testing.T) {
			_, terminal := openPTY(t)
			cmd := pid1(t, role)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			start(t, cmd)
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				checkPowerOff(t, err)
			case <-time.After(30 * time.Second):
				cmd.Process.Kill()
				t.Fatal("the machine does not end while no one reads its console")
			}
		})
	}
}

// Whoever looks at the console again is told what he has missed, where it is missing, and
// sees the rest.
func TestTheConsoleIsReadAgain(t *testing.T) {
	person, terminal := openPTY(t)
	cmd := pid1(t, "flood and wait")
	cmd.Stdin, cmd.Stderr = terminal, terminal
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	flooded := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		flooded <- line
	}()
	select {
	case line := <-flooded:
		if line != "flooded\n" {
			t.Errorf("the child said %q", line)
		}
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatal("the child does not go on while no one reads the console")
	}
	next, lost := 0, 0
	lines := bufio.NewScanner(person)
	for asked := false; lines.Scan(); {
		var n int
		line := strings.TrimSuffix(lines.Text(), "\r")
		if _, err := fmt.Sscanf(line, "line %d", &n); err == nil {
			if n != next {
				t.Fatalf("line %d follows line %d", n, next-1)
			}
			next++
		} else if _, err := fmt.Sscanf(line, "vvufwd: %d lines were dropped here", &n); err == nil {
			next += n
			lost += n
		}
		if lost > 0 && !asked {
			asked = true
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Error(err)
			}
		}
		if line == "vvufwd: exit code 0" {
			break
		}
	}
	checkPowerOff(t, cmd.Wait())
	if lost == 0 || next != floodLines {
		t.Errorf("of %d lines %d were told to be lost, and %d came", floodLines, lost, next-lost)
	}
}
