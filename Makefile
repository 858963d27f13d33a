# make demo    boot both VMs and show traffic both ways
# make test    everything: unit tests with all seeds of the fuzz targets, race detector, linters, the rings on arm64, the tests with machines
#              and DPDK; each stage is a target of its own: lint cross unit race arm64 nix machines versus
# make build   build/bin/{vvufwd,vvudev,vvudemo,vvugen,vvubench,vvuimage,vvuctl}, static and stripped
# make quick   unit tests only, seconds
# make fuzz    all fuzz targets, FUZZTIME each: a time such as 5m, or a number of inputs such as 5000x; not part of test
# make man     manual pages of all programs and topics, in build/man
# make dist    a release in build/dist: static programs for amd64 and arm64 with manual pages, completions and systemd units, a driver VM's
#              initramfs, bills of materials, Debian packages and SHA256SUMS; the same commit gives the same bytes
# make deb     the Debian packages of it only
# make bench   vvufwd against DPDK testpmd, a quarter of an hour; BENCHFLAGS="--only ^64 --rounds 1" for less
# make corebench  what a frame costs on one core, in ns; COREFLAGS="--peer PATH --bound PATH --rounds 8 --json FILE"
#              has other instruments take turns with it
# make shadowbench  throughput and latency with vvudev --shadow and without, a minute; SHADOWFLAGS="--rounds 5 --turn 1s --json FILE"
# make tapbench  TCP between a guest and the host through vvufwd's TAP port and through QEMU's own TAP, two minutes;
#              TAPFLAGS="--rounds 5 --mib 256 --vvufwd '--idle-after 1ms' --json FILE"
# make pktgen  packet generators at both ends of the demo's machines: frames that arrive, by size and direction, as a table,
#              build/demo/pktgen.json and pktgen.svg; PKTGENFLAGS="--pktgen-sizes 60,imix --pktgen-beside OTHER.json"
# make matrix  app VMs of three kernels with all combinations of rings, buffers, offloads and queues, half an hour,
#              machines that boot from the network and from vvuimage's ISO images, which takes grub-mkrescue, and a guest behind a TAP device;
#              MATRIXFLAGS="--json" for JSON, --matrix pairs or a regular expression for fewer
# make soak    attacks on a running vvufwd and on a running vvudev in their long form, SOAKTIME each or longer

GO       ?= go
BIN      := build/bin
COMMANDS := vvufwd vvudev vvudemo vvugen vvubench vvuimage vvuctl
FUZZTIME ?= 5000x
SOAKTIME ?= 10m

# Packages whose memory is shared with a peer are also run without the race
# detector: it does not see mapped memory and swaps the assembly out.
PACKAGES := ./...
# Programs and tests are built alike wherever they can be, so that each package is
# compiled once: on a fresh machine that is most of what unit tests cost.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

# Many tests wait, for a peer or a grace period: more packages, and tests of a package, at a time than there are processors,
# unless machines run beside them.
AT_ONCE  ?= $(shell echo $$(($(if $(STAGE),1,2) * $$(nproc))))
# Lint has vetted all; no test binary is kept for a debugger, and to link one takes twice as long with what that needs (panics
# and the race detector name lines without it); as a stage of "make test", tests tell what they do as events. Limits are for what
# hangs, and several times what a slow and busy machine takes.
GOTEST   := $(GO) test -count=1 -vet=off -ldflags="-s -w" -timeout 20m -p $(AT_ONCE) -parallel 8 $(if $(STAGE),-json)

GOBUILD := $(GO) build -ldflags="-s -w -buildid="

.PHONY: build demo pktgen matrix bench corebench shadowbench tapbench test quick unit race lint cross arm64 fuzz soak e2e nix machines versus clean man dist deb

build:
	@mkdir -p $(BIN)
	$(GOBUILD) -o $(BIN)/ $(COMMANDS:%=./cmd/%)

demo: build
	$(BIN)/vvudemo $(DEMOFLAGS)

pktgen: build
	$(BIN)/vvudemo --pktgen $(PKTGENFLAGS)

matrix: WHOLE := $(GO) test -count=1 -timeout 60m
matrix: build
	@$(BIN)/vvudemo --matrix all --transfer 64 $(MATRIXFLAGS)
	$(WHOLE) -v -run TestNetworkBoot ./cmd/vvufwd/e2e
	$(WHOLE) -run 'TestIntelNICs|TestKernelNIC' ./cmd/vvudemo/e2e -args -all-nics
	$(WHOLE) -run TestBootImages ./cmd/vvudemo/e2e -args -all-images
	$(WHOLE) -run TestInterfacesComeAndGo ./cmd/vvufwd/e2e -args -interface-starts 200
	$(WHOLE) -run TestZeroCopy ./cmd/vvufwd/e2e -args -suspend
	$(WHOLE) -run TestZeroCopy ./cmd/vvufwd/e2e -args -zero-copy-nic igb
	$(WHOLE) -run TestDevicesComeAndGo ./cmd/vvufwd/e2e -args -unplug-nic e1000e
	$(WHOLE) -run TestDevicesComeAndGo ./cmd/vvufwd/e2e -args -unplug-nic igb

man: build
	$(GO) run ./cmd/internal/dist -man build/man -bin $(BIN) $(COMMANDS)

dist:
	$(GO) run ./cmd/internal/dist -out build/dist $(COMMANDS)
	@cat build/dist/SHA256SUMS

deb:
	$(GO) run ./cmd/internal/dist -deb -out build/deb -arch $(or $(DEBARCH),$$($(GO) env GOHOSTARCH)) $(COMMANDS)
	@ls build/deb/*.deb

# Testpmd comes from PATH, or is unpacked from Debian's packages.
bench: build
	$(BIN)/vvubench --json build/bench.json $(BENCHFLAGS)

corebench:
	@$(GO) test -count=1 -run '^$$' -bench '^BenchmarkCore$$' -benchtime 1x ./netfwd -args $(COREFLAGS)
	@$(GO) test -count=1 -run '^$$' -bench '^BenchmarkShadowCore$$' -benchtime 1x ./vvu/shadow | grep -E '^pkg:|ns/frame'
	@$(GO) test -count=1 -run '^$$' -bench '^BenchmarkNICCore$$' -benchtime 1x -p 1 ./virtio/net/driver ./netfwd/nic/e1000e ./netfwd/nic/igb ./netfwd/nic/igbvf ./netfwd/netdev/packet ./netfwd/netdev/xdp ./netfwd/netdev/tap | grep -E '^pkg:|ns/frame'

shadowbench:
	@$(GO) test -count=1 -run '^$$' -bench '^BenchmarkShadow$$' -benchtime 1x ./cmd/vvudev/speed -args $(SHADOWFLAGS)

tapbench:
	@$(GO) test -count=1 -run '^$$' -bench '^BenchmarkTAP$$' -benchtime 1x ./cmd/vvufwd/speed -args $(TAPFLAGS)

# Machines wait for half of their time, as do unit tests: lanes side by side. Nothing judges the rates that versus
# measures, so it need not be alone. One after the other, for less load:
# make test LANES="'lint cross unit race arm64 nix machines versus'"
LANES ?= machines 'lint cross unit race' 'nix versus arm64'
test: build
	@$(GO) run ./cmd/internal/stages $(STAGESFLAGS) $(LANES)

quick:
	$(GO) test $$($(GO) list $(PACKAGES) | grep -v /e2e)

unit:
	$(GOTEST) $$($(GO) list $(PACKAGES) | grep -v -e /e2e -e cmd/vvubench'$$')

# The packages in which something happens at the same time as something else. Hostile
# tests attack a vvufwd that is a program of its own, without the detector; those about what
# a program gives up start one, too. Nor do those
# take part in which memory vanishes under a loop: the detector makes atomic accesses on a
# stack of its own, where no Go program can catch a fault. Long tests in which one goroutine does it all are left out, too, and
# command lines of vvudemo, which are refused before anything has started.
RACEALONE := EveryChangedPageIsMarked|FullRingsAcrossTheWrap|AgainstModel|NoAllocation|IdlePolicy|BothWaysAreOne|CoreRig
RACESKIP := $(RACEALONE)|Vanish|Storm|NotThere|NoGood|FaultHitsOnly|RecoverTakesBack|Confined|ReadsTheLog
race:
	GORACE=atexit_sleep_ms=0 CGO_ENABLED=1 $(GOTEST) -race -skip '$(RACESKIP)' $$(grep -rlE '^\s*go (func|[a-zA-Z.]+\()|"sync(/atomic)?"' --include='*.go' cmd netfwd vfio virtio vvu | \
	  xargs -n1 dirname | sort -u | grep -v -e /e2e -e /hostile -e /soak -e /confine -e cmd/vvudemo'$$' | sed 's,^,./,')

lint:
	@bad=$$(git ls-files 2>/dev/null | grep -vE '^(cmd|netfwd|nix|testdata|vfio|virtio|vvu|\.ci)/|^(\.gitignore|LICENSE|Makefile|README\.md|go\.mod|go\.sum)$$'); \
	 test -z "$$bad" || { echo "this does not belong into the repository: $$bad"; exit 1; }
	@test -z "$$(gofmt -l cmd netfwd vfio virtio vvu)" || { gofmt -l cmd netfwd vfio virtio vvu; echo "run gofmt on these files"; exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)
	@bad=$$(grep -lE '^(import )?	?"unsafe"' $$(find cmd netfwd vfio virtio vvu -name '*.go' ! -name '*_unsafe.go' ! -name '*_test.go')); \
	 test -z "$$bad" || { echo "unsafe belongs in *_unsafe.go only: $$bad"; exit 1; }

# For arm64 all is compiled, and vetted where there is code of its own; the rest was vetted for amd64.
cross:
	GOARCH=arm64 $(GO) build -o /dev/null $(PACKAGES)
	GOARCH=arm64 $(GO) vet $$(find cmd netfwd vfio virtio vvu -name '*_arm64*.go' -o -name '*_arm64.s' -o -name '*_amd64*.go' | xargs -n1 dirname | sort -u | sed 's,^,./,')

# The rings' code for arm64 runs in QEMU's emulator, in which memory does not end where its file ends, and which does not know all that
# peerfd asks the kernel.
ARM64SKIP := Vanish|TakesBack|OnPackedRings/Vanish|OnPackedRings/TakesBack|CopyOpsFaults/truncated
arm64:
	@mkdir -p $(BIN)
	@$(GO) run ./cmd/internal/lab/emulator aarch64 >$(BIN)/emulator-aarch64
	GOARCH=arm64 $(GOTEST) -short -exec "$$(cat $(BIN)/emulator-aarch64)" -skip '$(ARM64SKIP)' ./vfio/mmio $$($(GO) list ./virtio/... | grep -v peerfd)

# Nix from Debian's packages evaluates, builds and boots nix/, against a stub of nixpkgs made of what is here.
nix:
	$(GOTEST) -timeout 30m ./cmd/internal/nixtest/e2e

# Every Fuzz function of every package, one after the other.
fuzz:
	@set -e; for p in $$($(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' $(PACKAGES)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$(GO) test -fuzz ^$$f\$$ $$p"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$p; \
	  done; done

# The short form of the same tests is part of unit.
soak:
	SOAKTIME=$(SOAKTIME) $(GO) test -count=1 -p 1 -timeout 3h -v ./cmd/vvudev/soak ./cmd/vvufwd/hostile
	SOAKTIME=$(SOAKTIME) $(GO) test -count=1 -timeout 1h -run 'TestConfined$$/interfaces$$' ./cmd/vvufwd

e2e: machines versus

# Whole machines and DPDK's front-ends, one package after the other, of each one test more at a time than there are processors: machines
# wait, too.
machines: build
	$(GOTEST) -short -p 1 -parallel $$(($$(nproc) + 1)) -timeout 60m -v ./cmd/vvudemo/e2e ./cmd/vvufwd/e2e

# Vvufwd against testpmd and against itself.
versus: build
	$(GOTEST) -short -p 1 -timeout 20m -v ./cmd/vvubench ./cmd/vvubench/e2e

clean:
	rm -rf build
