package show

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"vvufwd/cmd/internal/lab/vm"
)

// sharedFile is a file that a process has mapped so that others see what it writes.
type sharedFile struct{ device, inode, name string }

// shadow shows who has mapped what: the driver VM's QEMU has vvudev's region, and nothing that the app VM's has.
func (d *demo) shadow(context.Context) (string, error) {
	driver, err := sharedFiles(d.driver)
	if err != nil {
		return "", err
	}
	var figures []string
	for _, a := range d.apps {
		app, err := sharedFiles(a.process)
		if err != nil {
			return "", err
		}
		device, err := sharedFiles(a.device)
		if err != nil {
			return "", err
		}
		for f := range app {
			if driver[f] > 0 {
				return "", fmt.Errorf("the driver VM's QEMU has mapped %d bytes of %s, which is the %s's", driver[f], f.name, a.name())
			}
		}
		ram, region := int64(0), int64(0)
		for f, n := range device {
			if app[f] > 0 {
				ram += n
			}
			if driver[f] > 0 && strings.Contains(f.name, "shadow") {
				region += driver[f]
			}
		}
		if ram < appMemoryMiB<<20 || region == 0 {
			return "", fmt.Errorf("vvudev has mapped %d bytes of the %s's RAM, and the driver VM's QEMU %d of the shadow region: %w", ram, a.name(), region, errNotSeen)
		}
		figures = append(figures, fmt.Sprintf("%s of a shadow region, and nothing of the %s's %s", size(region), a.name(), size(ram)))
	}
	return "the driver VM's QEMU has mapped " + strings.Join(figures, "; "), nil
}

var errNotSeen = errors.New("this does not tell who sees what")

// restartDriver kills the driver VM while the app VM pings, and boots it again. The app VM keeps its network device, its connection to
// vvudev and its addresses.
func (d *demo) restartDriver(ctx context.Context) (string, error) {
	const departed = "front-end disconnected"
	a := d.apps[0]
	gone := func() (int, error) {
		log, err := os.ReadFile(d.out(a.suffixed("vvudev") + ".log"))
		n := 0
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, departed) && strings.Contains(line, "app VM") {
				n++
			}
		}
		return n, err
	}
	before, err := gone()
	if err != nil {
		return "", err
	}
	if err := a.BeginPing(ctx, commandLimit, d.network.host, livePings); err != nil {
		return "", err
	}
	begin, mark := time.Now(), a.device.Mark()
	d.sacrificed.Store(d.driver)
	if err := d.driver.Kill(); err != nil {
		return "", err
	}
	if _, err := d.startDriver(ctx); err != nil {
		return "", err
	}
	// What is sent between vvufwd's word that it forwards and this one is lost, as before.
	if _, _, err := a.device.Expect(ctx, mark, bootLimit, "word that the driver VM serves the app VM again", vm.Containing("the driver VM serves the app VM")); err != nil {
		return "", err
	}
	if _, err := a.EndPing(ctx, commandLimit); err != nil { // some of them were lost
		return "", err
	}
	if _, err := d.pingsAgain(ctx, a); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if _, _, err := d.downloadTo(ctx, a); err != nil {
		return "", err
	}
	if after, err := gone(); err != nil || after != before {
		return "", errors.Join(err, fmt.Errorf("vvudev says %q %d times more", departed, after-before))
	}
	return fmt.Sprintf("the driver VM was killed and booted again under the app VM, which kept its device; it pings again %.1f s after the kill", took.Seconds()), nil
}

// sharedFiles are the files that a process shares, with how many bytes it has mapped of each.
func sharedFiles(p *vm.Process) (map[sharedFile]int64, error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", p.PID()))
	if err != nil {
		return nil, err
	}
	defer maps.Close()
	found := map[sharedFile]int64{}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		var begin, end int64
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "s") || fields[4] == "0" {
			continue
		}
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &begin, &end); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", maps.Name(), lines.Text(), err)
		}
		found[sharedFile{fields[3], fields[4], fields[5]}] += end - begin
	}
	return found, lines.Err()
}
