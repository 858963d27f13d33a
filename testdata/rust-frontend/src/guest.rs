//! A guest with a network card, and the monitor that owns it, which keeps to cloud-hypervisor's orders.

use std::rc::Rc;
use std::time::{Duration, Instant};

use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures as Proto,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::VhostBackend;

use crate::memory::Memory;
use crate::ring::Ring;

type Result<T> = std::result::Result<T, String>;

const RINGS: u64 = 2;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;
const MRG_RXBUF: u64 = 1 << 15;
const MAC: u64 = 1 << 5;
const MTU: u64 = 1 << 3;
const MQ: u64 = 1 << 22;
const CTRL_VQ: u64 = 1 << 17;
/// Of struct virtio_net_hdr_v1.
const HEADER: usize = 12;

pub struct Guest {
    path: String,
    memory: Rc<Memory>,
    front: Frontend,
    features: u64,
    protocol: Proto,
    pieces: usize, // of memory
    pub rx: Ring,
    pub tx: Ring,
}

/// Says which call failed.
macro_rules! call {
    ($e:expr) => {
        $e.map_err(|e| format!("{}: {}", stringify!($e), e))?
    };
}

impl Guest {
    /// Connects, as when the monitor starts.
    pub fn new(path: &str) -> Result<Guest> {
        let memory = Rc::new(call!(Memory::new()));
        let mut g = Guest {
            path: path.to_string(),
            front: call!(Frontend::connect(path, RINGS)),
            features: 0,
            protocol: Proto::empty(),
            pieces: 1,
            rx: call!(Ring::new(&memory, 0)),
            tx: call!(Ring::new(&memory, 1)),
            memory,
        };
        call!(g.front.set_owner());
        let offered = call!(g.front.get_features());
        let wanted = PROTOCOL_FEATURES | VERSION_1 | EVENT_IDX | MRG_RXBUF;
        if offered & wanted != wanted {
            return Err(format!("the back-end offers {:#x}, want {:#x}", offered, wanted));
        }
        if offered & MQ != 0 && offered & CTRL_VQ == 0 {
            return Err(format!("MQ without CTRL_VQ in {:#x}: Linux refuses such a device", offered));
        }
        g.features = wanted;
        let known = Proto::MQ | Proto::CONFIGURE_MEM_SLOTS | Proto::REPLY_ACK | Proto::CONFIG;
        g.protocol = call!(g.front.get_protocol_features()) & known;
        if g.protocol != known {
            return Err(format!("protocol features {:?}, want {:?}", g.protocol, known));
        }
        g.negotiated()?;
        let rings = call!(g.front.get_queue_num());
        if rings < RINGS {
            return Err(format!("{} rings", rings));
        }
        g.check_config(offered)?;
        Ok(g)
    }

    /// From here on every message asks for an acknowledgement.
    fn negotiated(&mut self) -> Result<()> {
        call!(self.front.set_protocol_features(self.protocol));
        self.front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        Ok(())
    }

    fn check_config(&mut self, offered: u64) -> Result<()> {
        let (_, config) = call!(self.front.get_config(0, 17, VhostUserConfigFlags::WRITABLE, &[0; 17]));
        let mtu = u16::from_le_bytes([config[10], config[11]]);
        if offered & MAC != 0 && config[..6] == [0; 6] || offered & MTU != 0 && mtu < 68 {
            return Err(format!("features {:#x} with the configuration {:?}", offered, config));
        }
        // A piece of it, as a guest reads it.
        let (_, piece) = call!(self.front.get_config(10, 2, VhostUserConfigFlags::WRITABLE, &[0; 2]));
        if piece != config[10..12] {
            return Err(format!("the MTU is {:?}, and {:?} when asked for alone", &config[10..12], piece));
        }
        Ok(())
    }

    /// The guest's driver takes the device, with new rings.
    pub fn start(&mut self) -> Result<()> {
        self.rx.reset();
        self.tx.reset();
        self.set_up([0, 0])?;
        call!(self.rx.notify(crate::ring::SIZE));
        Ok(())
    }

    fn set_up(&mut self, bases: [u16; 2]) -> Result<()> {
        call!(self.front.set_features(self.features));
        let regions: Vec<_> = (0..self.pieces).map(|i| self.memory.region(i)).collect();
        call!(self.front.set_mem_table(&regions));
        for i in 0..2 {
            call!(self.front.set_vring_num(i, crate::ring::SIZE));
        }
        for (i, ring) in [&self.rx, &self.tx].iter().enumerate() {
            call!(self.front.set_vring_addr(i, &ring.config()));
            call!(self.front.set_vring_base(i, bases[i]));
            call!(self.front.set_vring_call(i, &ring.call));
            call!(self.front.set_vring_kick(i, &ring.kick));
        }
        self.resume()
    }

    pub fn pause(&mut self) -> Result<()> {
        for i in 0..2 {
            call!(self.front.set_vring_enable(i, false));
        }
        Ok(())
    }

    pub fn resume(&mut self) -> Result<()> {
        for i in 0..2 {
            call!(self.front.set_vring_enable(i, true));
        }
        Ok(())
    }

    /// Stops both rings, and returns where they are to go on.
    pub fn stop(&mut self) -> Result<[u16; 2]> {
        let mut bases = [0; 2];
        for i in 0..2 {
            call!(self.front.set_vring_enable(i, false));
            bases[i] = call!(self.front.get_vring_base(i)) as u16;
        }
        Ok(bases)
    }

    /// Goes on after stop.
    pub fn go_on(&mut self, bases: [u16; 2]) -> Result<()> {
        self.set_up(bases)
    }

    /// Plugs in memory, from which all further buffers are taken.
    pub fn plug(&mut self) -> Result<()> {
        call!(self.front.add_mem_region(&self.memory.region(1)));
        self.pieces = 2;
        self.rx.move_buffers();
        self.tx.move_buffers();
        Ok(())
    }

    /// Finds the back-end again that went away. The guest knows nothing of it.
    pub fn reconnect(&mut self) -> Result<()> {
        let begin = Instant::now();
        self.front = loop {
            match Frontend::connect(&self.path, RINGS) {
                Ok(f) => break f,
                Err(e) if begin.elapsed() > Duration::from_secs(60) => return Err(e.to_string()),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        call!(self.front.set_owner());
        call!(self.front.get_features());
        self.negotiated()?;
        self.set_up([self.rx.avail_index(), self.tx.avail_index()])
    }

    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        while self.tx.ready() {
            self.tx.take()?;
        }
        let mut packet = vec![0; HEADER];
        packet.extend_from_slice(frame);
        call!(self.tx.send(&packet));
        Ok(())
    }

    /// Waits for a frame, in one buffer, and offers a buffer in its place.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        let packet = self.rx.take()?;
        call!(self.rx.offer());
        if packet.len() < HEADER || packet[10..12] != [1, 0] {
            return Err(format!("a packet of {} bytes: {:?}", packet.len(), &packet[..packet.len().min(HEADER)]));
        }
        Ok(packet[HEADER..].to_vec())
    }

    /// Waits until every frame is sent.
    pub fn sent(&mut self) -> Result<()> {
        while self.tx.outstanding() > 0 {
            self.tx.take()?;
        }
        Ok(())
    }
}
