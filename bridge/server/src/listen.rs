//! The sockets: who gets in, how many, and for how long.
//!
//! Invariant: [`UNPROVEN_MAX`] connections at once that have shown no token, for [`UNPROVEN_TIME_MAX`]; others wait in
//! the system's queue. A wrong token is answered [`WRONG_TOKEN_REST`] later, and that ends its connection. Whoever is
//! in is bounded too, and given up when it neither asks nor takes.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::answer::{Answer, text, who_are_you};
use crate::calls::Calls;
use crate::rest::Rest;
use crate::stall::Stall;
use crate::{Certificate, Program, Servers};

/// Connections at once that have shown no token (DESIGN.md, section 7).
const UNPROVEN_MAX: usize = 4;

/// How long each of them may take.
const UNPROVEN_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections at once that have: restic has 5, and each holds up to 1 MiB while it is sent something.
const PROVEN_MAX: usize = 16;

/// Four wrong tokens a second, whoever tries: nothing beside 160 bits, and little work.
const WRONG_TOKEN_REST: Duration = Duration::from_secs(1);

/// Longest time between two requests, and for the head of one.
const HEAD_MAX: Duration = Duration::from_secs(60);

/// Longest time in which a caller takes nothing of what it asked for.
const TAKE_MAX: Duration = Duration::from_secs(60);

/// Of a request's head: a path and an `Authorization` are a few hundred bytes.
const HEAD_SIZE_BYTES_MAX: usize = 16 * 1024;

/// Threads that wait for disks and upstreams.
const WAITING_THREADS_MAX: usize = 8;

/// Rest after accepting failed, for want of file handles: it would fail again at once.
const ACCEPT_REST: Duration = Duration::from_millis(200);

/// What all connections share.
struct Shared {
    servers: Arc<Servers>,
    rest: Rest,
    calls: Calls,
    unproven: Arc<Semaphore>,
    proven: Arc<Semaphore>,
}

/// Answers on a thread of its own until the process ends.
///
/// # Errors
/// No thread, or no use of the certificate.
pub fn listen(
    listener: TcpListener,
    certificate: Certificate,
    servers: Arc<Servers>,
    program: Arc<dyn Program>,
) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.chain], certificate.key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WAITING_THREADS_MAX)
        .build()?;
    let shared = Arc::new(Shared {
        servers,
        rest: Rest::new(Arc::clone(&program)),
        calls: Calls::new(program),
        unproven: Arc::new(Semaphore::new(UNPROVEN_MAX)),
        proven: Arc::new(Semaphore::new(PROVEN_MAX)),
    });
    let serve = move || runtime.block_on(accept(listener, acceptor, shared));
    std::thread::Builder::new()
        .name("servers".to_owned())
        .spawn(serve)?;
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "no server can call"),
    };
    // Nobody closes it.
    while let Ok(place) = Arc::clone(&shared.unproven).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, &acceptor, shared, place).await {
                        debug!(%error, %from, "a server's connection ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a server's connection could not be taken");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// The place that a connection has: first among those that have shown nothing.
struct Caller {
    place: Mutex<(OwnedSemaphorePermit, bool)>,
    proved: Notify,
}

impl Caller {
    /// It has shown a token: it gets a place among those who have, if there is one.
    fn prove(&self, proven: &Arc<Semaphore>) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if !place.1 {
            let Ok(free) = Arc::clone(proven).try_acquire_owned() else {
                return false;
            };
            *place = (free, true);
            self.proved.notify_one();
        }
        true
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    shared: Arc<Shared>,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let late = sleep(UNPROVEN_TIME_MAX);
    let stream = timeout(UNPROVEN_TIME_MAX, acceptor.accept(stream)).await??;
    let caller = Arc::new(Caller {
        place: Mutex::new((place, false)),
        proved: Notify::new(),
    });
    let (of_request, proved) = (Arc::clone(&caller), Arc::clone(&caller));
    let service = service_fn(move |request| {
        let (shared, caller) = (Arc::clone(&shared), Arc::clone(&of_request));
        async move { Ok::<_, Infallible>(answer(&shared, &caller, request).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_SIZE_BYTES_MAX)
            .serve_connection(TokioIo::new(Stall::new(stream, TAKE_MAX)), service)
    );
    tokio::select! {
        served = &mut serving => return served.map_err(io::Error::other),
        () = proved.proved.notified() => {}
        () = late => return Err(io::ErrorKind::TimedOut.into()),
    }
    serving.await.map_err(io::Error::other)
}

async fn answer(shared: &Arc<Shared>, caller: &Caller, request: Request<Incoming>) -> Answer {
    let shown = request.headers().get(AUTHORIZATION);
    let Some(server) = shown.and_then(|shown| shared.servers.who(shown.as_bytes())) else {
        info!("a caller showed no token of a server");
        sleep(WRONG_TOKEN_REST).await;
        return who_are_you();
    };
    if !caller.prove(&shared.proven) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many connections: try again");
    }
    debug!(server, method = %request.method(), path = request.uri().path(), "a server asks");
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let answered = match path.strip_prefix("~berth/") {
        Some(call) => shared.calls.answer(&server, call, request).await,
        None => shared.rest.answer(&path, request).await,
    };
    answered.unwrap_or_else(crate::answer::Failure::answer)
}

/// Runs what may wait on a thread that may.
pub(crate) async fn wait<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::answer::Failure> + Send + 'static,
) -> Result<T, crate::answer::Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(crate::answer::Failure::Broken(error.to_string())))
}
