//! A proxy before a broker that reads which request passes, and can lose or keep back some of them.
//!
//! It speaks of Kafka's frames alone: a length, then in a request the kind and the correlation id, in an
//! answer the correlation id. Everything that no rule names passes as it is.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Larger than what any client here sends or gets: a broken frame is noticed.
const FRAME_BYTES_MAX: usize = 128 << 20;

/// A kind of request, by its number in Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Records.
    Produce,
    /// A member of a group takes part in a rebalance.
    JoinGroup,
    /// A member of a group is alive.
    Heartbeat,
    /// A transaction's positions.
    TxnOffsetCommit,
    /// The commit or the abort of a transaction.
    EndTxn,
}

impl Request {
    fn of(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Produce),
            11 => Some(Self::JoinGroup),
            12 => Some(Self::Heartbeat),
            26 => Some(Self::EndTxn),
            28 => Some(Self::TxnOffsetCommit),
            _ => None,
        }
    }
}

/// What happens to requests of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The broker does not hear of them.
    Lose,
    /// The broker hears of them, the client does not hear its answer.
    LoseAnswer,
    /// The broker hears of them only after [`Proxy::release`].
    Keep,
    /// The broker hears of them, the client hears its answer only after [`Proxy::release`].
    KeepAnswer,
}

/// A proxy before one broker; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<BTreeMap<Request, Rule>>,
    /// How many requests a rule has struck.
    struck: Mutex<BTreeMap<Request, usize>>,
    /// What is kept back, and where it is to go.
    kept: Mutex<Vec<(Stream, Vec<u8>)>>,
    ended: AtomicBool,
}

/// One direction's sink; frames of two threads do not mix.
type Stream = Arc<Mutex<TcpStream>>;

impl Proxy {
    pub(crate) fn start(port: u16, target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the proxy's port is free");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(client) = client
                    && let Ok(broker) = TcpStream::connect(("127.0.0.1", target))
                {
                    connect(&accepting, client, broker);
                }
            }
        });
        Self { port, shared }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on this happens to requests of a kind.
    pub fn rule(&self, request: Request, rule: Rule) {
        lock(&self.shared.rules).insert(request, rule);
    }

    /// Requests of a kind pass again. What was kept back stays so.
    pub fn pass(&self, request: Request) {
        lock(&self.shared.rules).remove(&request);
    }

    /// How many requests of a kind rules have struck so far.
    #[must_use]
    pub fn struck(&self, request: Request) -> usize {
        lock(&self.shared.struck).get(&request).copied().unwrap_or(0)
    }

    /// Lets go what was kept back, in its order; what is on a connection that has ended is lost.
    pub fn release(&self) {
        for (stream, frame) in lock(&self.shared.kept).drain(..) {
            let _ = send(&stream, &frame);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // So that the listener looks.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Moves frames both ways until either side ends.
fn connect(shared: &Arc<Shared>, client: TcpStream, broker: TcpStream) {
    let (Ok(from_client), Ok(from_broker)) = (client.try_clone(), broker.try_clone()) else {
        return;
    };
    let (to_client, to_broker) = (Arc::new(Mutex::new(client)), Arc::new(Mutex::new(broker)));
    // The answers, by correlation id, that a rule has named.
    let named: Arc<Mutex<BTreeMap<[u8; 4], Rule>>> = Arc::default();
    let (requests, answers) = (Arc::clone(shared), Arc::clone(shared));
    let (asked, sinks) = (Arc::clone(&named), (Arc::clone(&to_client), Arc::clone(&to_broker)));
    thread::spawn(move || {
        while let Ok(frame) = receive(&from_client) {
            if forward_request(&requests, &asked, &sinks.1, frame).is_err() {
                break;
            }
        }
        end(&sinks.0, &sinks.1);
    });
    thread::spawn(move || {
        while let Ok(frame) = receive(&from_broker) {
            if forward_answer(&answers, &named, &to_client, frame).is_err() {
                break;
            }
        }
        end(&to_client, &to_broker);
    });
}

fn forward_request(
    shared: &Shared,
    named: &Mutex<BTreeMap<[u8; 4], Rule>>,
    broker: &Stream,
    frame: Vec<u8>,
) -> io::Result<()> {
    let kind = frame.first_chunk().and_then(|kind| Request::of(i16::from_be_bytes(*kind)));
    let rule = kind.and_then(|kind| Some((kind, *lock(&shared.rules).get(&kind)?)));
    let Some((kind, rule)) = rule else { return send(broker, &frame) };
    *lock(&shared.struck).entry(kind).or_default() += 1;
    match rule {
        Rule::Lose => Ok(()),
        Rule::Keep => {
            lock(&shared.kept).push((Arc::clone(broker), frame));
            Ok(())
        }
        Rule::LoseAnswer | Rule::KeepAnswer => {
            if let Some(id) = frame.get(4..8).and_then(|id| id.try_into().ok()) {
                lock(named).insert(id, rule);
            }
            send(broker, &frame)
        }
    }
}

fn forward_answer(
    shared: &Shared,
    named: &Mutex<BTreeMap<[u8; 4], Rule>>,
    client: &Stream,
    frame: Vec<u8>,
) -> io::Result<()> {
    let rule = frame.first_chunk::<4>().and_then(|id| lock(named).remove(id));
    match rule {
        None => send(client, &frame),
        Some(Rule::KeepAnswer) => {
            lock(&shared.kept).push((Arc::clone(client), frame));
            Ok(())
        }
        Some(Rule::Lose | Rule::LoseAnswer | Rule::Keep) => Ok(()),
    }
}

fn receive(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn send(stream: &Stream, frame: &[u8]) -> io::Result<()> {
    let length = i32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut stream = lock(stream);
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(frame)
}

fn end(client: &Stream, broker: &Stream) {
    for stream in [client, broker] {
        let _ = lock(stream).shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
