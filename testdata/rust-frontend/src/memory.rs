//! The memory of a guest: one file, mapped once, of which the back-end learns in pieces.

use std::fs::File;
use std::io;
use std::os::unix::io::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use vhost::VhostUserMemoryRegionInfo;

/// Bytes of one piece, and how many pieces there are.
pub const PIECE: usize = 4 << 20;
const PIECES: usize = 2;

/// Where the guest sees its pieces: the second is what is plugged in.
const GPA: [u64; PIECES] = [0x10_0000, 1 << 32];

pub struct Memory {
    file: File,
    start: *mut u8,
}

impl Memory {
    pub fn new() -> io::Result<Memory> {
        // SAFETY: the name is a C string, and the result is checked.
        let fd = unsafe { libc::memfd_create(b"guest\0".as_ptr().cast(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and no one else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len((PIECES * PIECE) as u64)?;
        let both = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), PIECES * PIECE, both, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Memory { file, start: start.cast() })
    }

    /// What the back-end is told of one piece.
    pub fn region(&self, piece: usize) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GPA[piece],
            memory_size: PIECE as u64,
            userspace_addr: self.user(piece * PIECE),
            mmap_offset: (piece * PIECE) as u64,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// The guest's address of a place in the file.
    pub fn guest(&self, at: usize) -> u64 {
        GPA[at / PIECE] + (at % PIECE) as u64
    }

    /// Our own address of a place in the file.
    pub fn user(&self, at: usize) -> u64 {
        self.start as u64 + at as u64
    }

    fn place(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at + len <= PIECES * PIECE);
        // SAFETY: it is within the mapping.
        unsafe { self.start.add(at) }
    }

    pub fn write(&self, at: usize, bytes: &[u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: place has that many bytes, and overlaps nothing of ours.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
    }

    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: as in write.
        unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// A 16-bit word that both sides look at.
    pub fn word(&self, at: usize) -> &AtomicU16 {
        assert!(at % 2 == 0);
        // SAFETY: aligned, within the mapping, and accessed as an atomic everywhere.
        unsafe { &*self.place(at, 2).cast::<AtomicU16>() }
    }

    pub fn u32(&self, at: usize) -> u32 {
        let mut b = [0; 4];
        self.read(at, &mut b);
        u32::from_le_bytes(b)
    }

    /// Clears a ring, before the back-end knows of it.
    pub fn clear(&self, at: usize, len: usize) {
        self.write(at, &vec![0; len]);
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was mapped in new, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), PIECES * PIECE) };
    }
}
