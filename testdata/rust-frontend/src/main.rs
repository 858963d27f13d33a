//! rust-frontend A.sock B.sock: two virtual machines at the sockets of a pair, which exchange frames through everything that a monitor
//! does. It prints a line for each part that went well. At "restart" it waits until the back-end was started anew and a line comes in.

mod guest;
mod memory;
mod ring;

use guest::Guest;

type Result<T> = std::result::Result<T, String>;

/// Frames each way that fit the ring, so that none may be lost.
const BURST: usize = 24;

/// What frame number `k` holds.
fn frame(k: usize) -> Vec<u8> {
    let len = 60 + k * 37 % 1440;
    let mut f: Vec<u8> = (0..len).map(|i| (i * 7 + k * 13 + k / 19) as u8).collect();
    f[..12].copy_from_slice(&[0x52, 0x54, 0, 0, 0, (k % 2) as u8, 0x52, 0x54, 0, 0, 0, 9]);
    f[14..22].copy_from_slice(&(k as u64).to_le_bytes());
    f
}

fn expect(g: &mut Guest, k: usize) -> Result<()> {
    let got = g.receive().map_err(|e| format!("frame {}: {}", k, e))?;
    if got != frame(k) {
        return Err(format!("frame {} came with {} bytes, beginning with {:?}", k, got.len(), &got[..got.len().min(32)]));
    }
    Ok(())
}

struct Pair {
    a: Guest,
    b: Guest,
    next: usize,
}

impl Pair {
    /// Sends bursts both ways at the same time.
    fn exchange(&mut self, bursts: usize) -> Result<()> {
        for _ in 0..bursts {
            let first = self.next;
            self.next += 2 * BURST;
            for k in 0..BURST {
                self.a.send(&frame(first + 2 * k))?;
                self.b.send(&frame(first + 2 * k + 1))?;
            }
            for k in 0..BURST {
                expect(&mut self.b, first + 2 * k)?;
                expect(&mut self.a, first + 2 * k + 1)?;
            }
        }
        self.a.sent()?;
        self.b.sent()
    }

    /// Has guest a send, and `during` happen to b then. All of it must arrive.
    fn send_then(&mut self, during: impl FnOnce(&mut Pair) -> Result<()>, frames: usize) -> Result<()> {
        let first = self.next;
        self.next += frames;
        for k in first..first + frames {
            self.a.send(&frame(k))?;
        }
        during(self)?;
        for k in first..first + frames {
            expect(&mut self.b, k)?;
        }
        self.exchange(3)
    }
}

fn run(paths: &[String]) -> Result<()> {
    let (mut a, mut b) = (Guest::new(&paths[0])?, Guest::new(&paths[1])?);
    a.start()?;
    b.start()?;
    let mut p = Pair { a, b, next: 1 };
    p.exchange(100)?;
    println!("traffic");

    for _ in 0..3 {
        p.b.pause()?;
        p.b.resume()?;
        p.exchange(3)?;
    }
    println!("pause and resume");

    p.send_then(|p| p.b.plug(), BURST)?;
    p.exchange(20)?;
    println!("hot-plug");

    for _ in 0..2 {
        p.a.stop()?;
        p.a.start()?;
        p.exchange(3)?;
    }
    println!("reset");

    for _ in 0..3 {
        let bases = p.a.stop()?; // what is sent now waits until it wakes up
        p.send_then(|p| p.a.go_on(bases), BURST)?;
    }
    println!("sleep and wake");

    for waiting in [0, 1, BURST] {
        println!("restart");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|e| e.to_string())?;
        let both = |p: &mut Pair| p.b.reconnect().and_then(|()| p.a.reconnect());
        p.send_then(both, waiting)?;
    }
    println!("reconnect");
    Ok(())
}

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.len() != 2 {
        eprintln!("usage: rust-frontend A.sock B.sock");
        std::process::exit(2);
    }
    if let Err(e) = run(&paths) {
        eprintln!("rust-frontend: {}", e);
        std::process::exit(1);
    }
    println!("done");
}
