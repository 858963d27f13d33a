package noise

// Watch observes two CPUs and the process that forwards on one of them. It costs
// nothing but a few reads at both ends. Owned by one goroutine.
type Watch struct {
	pid     int
	cpus    []int
	before  []cpuTime
	threads map[string]threadTime
}

const proc = "/proc"

// Begin begins to watch.
func Begin(pid int, cpus ...int) (*Watch, error) {
	w := &Watch{pid: pid, cpus: cpus}
	for _, cpu := range cpus {
		t, err := readCPU(proc, cpu)
		if err != nil {
			return nil, err
		}
		w.before = append(w.before, t)
	}
	w.threads = readThreads(proc, pid)
	return w, nil
}

// End says what has happened since Begin; the process must still run. What
// delayed the generator only the generator knows.
func (w *Watch) End(generator float64) (Report, error) {
	r := Report{Generator: generator, Forwarder: delayed(w.threads, readThreads(proc, w.pid))}
	for i, cpu := range w.cpus {
		now, err := readCPU(proc, cpu)
		if err != nil {
			return r, err
		}
		interrupts, steal := now.since(w.before[i])
		r.Interrupts, r.Steal = max(r.Interrupts, interrupts), max(r.Steal, steal)
	}
	return r, nil
}
