//! A database that is further away: each byte arrives so much later, and as many may be on their
//! way as the sockets hold. Threads, since the timers of the runtime count in whole milliseconds.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Relays to a port of this machine until the process ends; returns the port to connect to.
pub fn away(server: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", server)).expect("the server");
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("an open socket");
            }
            let (from, to) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            relay(from, to, round_trip / 2);
            relay(server, client, round_trip / 2);
        }
    });
    port
}

fn relay(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1_024);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, bytes)) = receiver.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // The other side may be gone already.
        to.shutdown(Shutdown::Both).ok();
    });
}
