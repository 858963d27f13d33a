# The demo as scripts: a device, a driver VM and an app VM, each in a terminal, or all three and pings (demo).
#
# Sockets and the app VM's memory are in one directory of a tmpfs, VVU_RUN. More arguments of a script are handed to the program that
# it starts.
{ lib
, writeShellScript
, coreutils
, util-linux
, gnugrep
, qemu
, qemuFork
, cloud-hypervisor
, crosvm
, vvudev
, images
, kernel
}:
let
  memory = "256M";
  appMAC = "52:54:00:00:00:0a";

  # QEMU without anything that is not asked for, on a serial console; what differs without KVM is in $cpu.
  plain = "-nodefaults -no-user-config -display none -serial stdio -no-reboot $cpu -m ${memory}";

  # no_timer_check: on a loaded machine an emulated timer can be too late for the kernel's test of it.
  console = "console=ttyS0 quiet panic=-1 no_timer_check";

  script = name: text: writeShellScript "vvufwd-${name}" ''
    set -eu
    PATH=${lib.makeBinPath [ coreutils util-linux gnugrep ]}
    run=''${VVU_RUN:-/dev/shm/vvufwd-$(id -u)}
    mkdir -p -m 700 "$run"
    if ! [ -O "$run" ]; then
      echo "${name}: $run belongs to someone else: set VVU_RUN to a directory of yours, in a tmpfs" >&2
      exit 2
    fi
    case $run in *[,\"\\]*)
      echo "${name}: $run: set VVU_RUN to a directory without commas and quotes in its name" >&2
      exit 2 ;;
    esac
    ${text}
  '';

  # Opening tells more than permissions: the file may be there without a processor that can. And that KVM can be had does not say that
  # it works, such as within a virtual machine: VVU_ACCEL decides then.
  accelerated = ''
    accel=''${VVU_ACCEL:-}
    if [ -z "$accel" ]; then
      accel=tcg
      if { : <> /dev/kvm; } 2> /dev/null; then accel=kvm; fi
    fi
    case $accel in
      kvm) cpu="-accel kvm -cpu host" ;;
      tcg) cpu="-accel tcg,thread=multi -cpu max,-erms,-fsrm" ;;
      *) echo "VVU_ACCEL=$accel: want kvm or tcg" >&2; exit 2 ;;
    esac
  '';

  # The driver VM's NIC: one of the host's (VVU_NIC, a PCI address, bound to vfio-pci), or one of QEMU's, joined to a TAP device
  # (VVU_TAP) or to QEMU's own network, in which 10.0.2.2 answers.
  nic = ''
    if [ -n "''${VVU_NIC:-}" ]; then
      set -- -device "vfio-pci,host=$VVU_NIC,addr=4" "$@"
    else
      net=user,id=nic
      if [ -n "''${VVU_TAP:-}" ]; then net="tap,id=nic,ifname=$VVU_TAP,script=no,downscript=no"; fi
      set -- -netdev "$net" -device virtio-net-pci,netdev=nic,romfile=,disable-legacy=on,iommu_platform=on,addr=4 "$@"
    fi
  '';

  driverBoot = ''-smp 2 -kernel ${kernel} -initrd ${images.driverInitramfs} \
      -append "${console} intel_iommu=on -- ''${VVUFWD_ARGS:---vvu 0000:00:05.0 --nic 0000:00:04.0 --stats 1s}"'';

  appWords = ''"${console} ''${VVU_APP_WORDS:-}"'';
in
rec {
  device = script "device" ''
    if [ -n "''${VVU_SHADOW:-}" ]; then
      rm -f "$run/app.ram"
      set -- --shadow "$VVU_SHADOW" "$@"
    else
      set -- --ram "$run/app.ram" --create-ram ${memory} "$@"
    fi
    exec ${vvudev}/bin/vvudev --vfio-user "$run/vvu.sock" --vhost-user "$run/app.sock" "$@"
  '';

  # The vIOMMU is what lets the guest use VFIO; vfio-user needs caching-mode and shared memory.
  driverVm = script "driver-vm" ''
    if ! [ -S "$run/vvu.sock" ]; then
      echo "driver-vm: there is no $run/vvu.sock: start the device first, \$(nix-build nix -A device)" >&2
      exit 2
    fi
    ${accelerated}
    ${nic}
    exec ${qemu}/bin/qemu-system-x86_64 ${plain} ${driverBoot} \
      -object memory-backend-memfd,id=ram,size=${memory},share=on -machine q35,kernel-irqchip=split,memory-backend=ram \
      -device intel-iommu,caching-mode=on,intremap=on \
      -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"'"$run"'/vvu.sock"},"addr":"5"}' "$@"
  '';

  # The same with a QEMU that has the device built in: it makes the app VM's socket itself, and there is no device to start.
  driverVmFork =
    if qemuFork == null
    then throw "driverVmFork: give --arg qemuFork PACKAGE, a QEMU that has virtio-vhost-user-pci built in"
    else
      script "driver-vm-fork" ''
        ${accelerated}
    ${nic}
        exec ${qemuFork}/bin/qemu-system-x86_64 ${plain} ${driverBoot} \
          -machine q35,kernel-irqchip=split -device intel-iommu,caching-mode=on,intremap=on,eim=off \
          -chardev "socket,id=vvu,path=$run/app.sock,server,nowait" \
          -device virtio-vhost-user-pci,chardev=vvu,disable-legacy=on,iommu_platform=on,addr=5 "$@"
      '';

  appVm = script "app-vm" ''
    ${accelerated}
    ram=memory-backend-memfd,id=ram,size=${memory},share=on
    if [ -e "$run/app.ram" ]; then
      # What a killed app VM has left there would be in the way of the next one's firmware.
      fallocate --punch-hole --length ${memory} "$run/app.ram"
      ram="memory-backend-file,id=ram,size=${memory},share=on,mem-path=$run/app.ram"
    fi
    exec ${qemu}/bin/qemu-system-x86_64 ${plain} -kernel ${kernel} -initrd ${images.appInitramfs} -append ${appWords} \
      -object "$ram" -machine q35,memory-backend=ram \
      -chardev "socket,id=vhost,path=$run/app.sock,reconnect-ms=1000" -netdev vhost-user,id=net,chardev=vhost \
      -device virtio-net-pci,netdev=net,romfile=,mac=${appMAC} "$@"
  '';

  # Other monitors. Both need KVM.
  appVmCloudHypervisor = script "app-vm-cloud-hypervisor" ''
    if [ -e "$run/app.ram" ]; then
      fallocate --punch-hole --length ${memory} "$run/app.ram"
      set -- --memory size=0 --memory-zone "id=ram,size=${memory},file=$run/app.ram,shared=on" "$@"
    else
      set -- --memory size=${memory},shared=on "$@"
    fi
    exec ${cloud-hypervisor}/bin/cloud-hypervisor --kernel ${kernel} --initramfs ${images.appInitramfs} --cmdline ${appWords} \
      --cpus boot=1 --serial tty --console off --net "vhost_user=true,socket=$run/app.sock,mac=${appMAC}" "$@"
  '';

  appVmCrosvm = script "app-vm-crosvm" ''
    if [ -e "$run/app.ram" ]; then
      echo "app-vm-crosvm: crosvm's memory cannot be a file: start the device with VVU_SHADOW=64M" >&2
      exit 2
    fi
    exec ${crosvm}/bin/crosvm run --mem 256 --serial type=stdout,hardware=serial,console,stdin \
      --vhost-user "net,socket=$run/app.sock" -i ${images.appInitramfs} -p ${appWords} "$@" ${kernel}
  '';

  demo = script "demo" ''
    run=$(mktemp -d /dev/shm/vvufwd-demo.XXXXXX)
    export VVU_RUN=$run
    device= driver=
    clean() {
      for process in $device $driver; do kill $process 2> /dev/null || :; done
      wait
      rm -rf "$run"
    }
    trap clean EXIT
    trap 'exit 130' INT TERM

    ${device} > "$run/device.log" 2>&1 & device=$!
    until [ -S "$run/vvu.sock" ] && [ -S "$run/app.sock" ]; do
      kill -0 $device 2> /dev/null || { cat "$run/device.log" >&2; exit 1; }
      sleep 0.1
    done
    mkfifo "$run/console" # an Enter there ends the driver VM
    exec 3<> "$run/console"
    ${driverVm} < "$run/console" > "$run/driver.log" 2>&1 & driver=$!

    VVU_APP_WORDS="ping ''${VVU_APP_WORDS:-}" timeout 300 ${appVm} < /dev/null | tee "$run/app.log" || :
    echo >&3
    wait $driver || :
    driver=
    echo
    cat "$run/driver.log"
    if ! grep -q "the gateway answers" "$run/app.log"; then
      cat "$run/device.log" >&2
      echo "demo: no pings came back" >&2
      exit 1
    fi
    echo "demo: pings passed through the driver VM, both ways"
  '';
}
