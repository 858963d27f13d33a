//! The driver's side of a split virtqueue with EVENT_IDX (virtio 1.3, 2.7). Each descriptor has a buffer of its own.

use std::io;
use std::os::unix::io::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{fence, Ordering};

use vhost::VringConfigData;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::memory::{Memory, PIECE};

pub const SIZE: u16 = 64;
pub const BUFFER: usize = 2048;

const AVAIL: usize = 0x1000;
const USED: usize = 0x2000;
const BUFFERS: usize = 0x4000;
/// Bytes of a ring with all of its buffers.
pub const SPACE: usize = 0x40000;

const LIMIT_MS: i32 = 20_000;
const WRITE: u16 = 2; // of a descriptor's flags

pub struct Ring {
    memory: Rc<Memory>,
    at: usize,
    buffers: usize, // where they are; elsewhere once memory was plugged in
    writable: bool,
    avail: u16,
    used: u16,
    free: Vec<u16>,
    place: Vec<usize>, // of the buffer of each descriptor that is out
    pub kick: EventFd,
    pub call: EventFd,
}

impl Ring {
    pub fn new(memory: &Rc<Memory>, number: usize) -> io::Result<Ring> {
        let at = number * SPACE;
        let mut r = Ring {
            memory: memory.clone(),
            at,
            buffers: at + BUFFERS,
            writable: number % 2 == 0,
            avail: 0,
            used: 0,
            free: Vec::new(),
            place: vec![0; SIZE.into()],
            kick: EventFd::new(EFD_NONBLOCK)?,
            call: EventFd::new(EFD_NONBLOCK)?,
        };
        r.reset();
        Ok(r)
    }

    /// Lays the ring out anew. A receive ring gets its buffers, not yet kicked.
    pub fn reset(&mut self) {
        self.memory.clear(self.at, BUFFERS);
        (self.avail, self.used, self.free) = (0, 0, (0..SIZE).rev().collect());
        while self.writable && !self.free.is_empty() {
            self.add(BUFFER);
        }
    }

    /// Takes buffers from the memory that was plugged in, from now on.
    pub fn move_buffers(&mut self) {
        self.buffers = self.at + BUFFERS + PIECE;
    }

    pub fn config(&self) -> VringConfigData {
        VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: self.memory.user(self.at),
            used_ring_addr: self.memory.user(self.at + USED),
            avail_ring_addr: self.memory.user(self.at + AVAIL),
            log_addr: None,
        }
    }

    pub fn avail_index(&self) -> u16 {
        self.avail
    }

    /// Buffers that are out.
    pub fn outstanding(&self) -> usize {
        usize::from(SIZE) - self.free.len()
    }

    fn add(&mut self, len: usize) -> usize {
        let d = self.free.pop().expect("a free descriptor");
        let buffer = self.buffers + usize::from(d) * BUFFER;
        self.place[usize::from(d)] = buffer;
        let mut b = [0; 16];
        b[..8].copy_from_slice(&self.memory.guest(buffer).to_le_bytes());
        b[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        b[12..14].copy_from_slice(&(if self.writable { WRITE } else { 0 }).to_le_bytes());
        self.memory.write(self.at + 16 * usize::from(d), &b);
        let slot = self.at + AVAIL + 4 + 2 * usize::from(self.avail % SIZE);
        self.memory.write(slot, &d.to_le_bytes());
        self.avail = self.avail.wrapping_add(1);
        self.memory.word(self.at + AVAIL + 2).store(self.avail, Ordering::Release);
        buffer
    }

    /// Puts a receive buffer in, and kicks if the back-end asks for it.
    pub fn offer(&mut self) -> io::Result<()> {
        self.add(BUFFER);
        self.notify(1)
    }

    /// Puts a packet in, header included. There has to be room.
    pub fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let d = *self.free.last().expect("room in the transmit ring");
        self.memory.write(self.buffers + usize::from(d) * BUFFER, packet);
        self.add(packet.len());
        self.notify(1)
    }

    /// Kicks if the last `added` buffers pass the back-end's avail_event (2.7.10).
    pub fn notify(&self, added: u16) -> io::Result<()> {
        fence(Ordering::SeqCst);
        let event = self.memory.word(self.at + USED + 4 + 8 * usize::from(SIZE)).load(Ordering::Acquire);
        if self.avail.wrapping_sub(event).wrapping_sub(1) < added {
            self.kick.write(1)?;
        }
        Ok(())
    }

    /// Waits for a used buffer, for which an interrupt must come, and returns its bytes.
    pub fn take(&mut self) -> Result<Vec<u8>, String> {
        while !self.ready() {
            self.memory.word(self.at + AVAIL + 4 + 2 * usize::from(SIZE)).store(self.used, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.ready() {
                break;
            }
            let mut p = libc::pollfd { fd: self.call.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one descriptor, as said.
            match unsafe { libc::poll(&mut p, 1, LIMIT_MS) } {
                1 => drop(self.call.read()),
                n => return Err(format!("no interrupt came (poll says {}, used buffers are there: {})", n, self.ready())),
            }
        }
        let element = self.at + USED + 4 + 8 * usize::from(self.used % SIZE);
        let (d, len) = (self.memory.u32(element), self.memory.u32(element + 4) as usize);
        self.used = self.used.wrapping_add(1);
        if d >= u32::from(SIZE) || len > BUFFER {
            return Err(format!("descriptor {} with {} bytes came back", d, len));
        }
        let mut bytes = vec![0; len];
        self.memory.read(self.place[d as usize], &mut bytes);
        self.free.push(d as u16);
        Ok(bytes)
    }

    pub fn ready(&self) -> bool {
        self.memory.word(self.at + USED + 2).load(Ordering::Acquire) != self.used
    }
}
